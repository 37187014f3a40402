"""Who plays the runs of a verb: this host, or the hosts of a cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from testbed.cli.console import err
from testbed.core.errors import SpecError

if TYPE_CHECKING:
    from testbed.run.orders import Players
    from testbed.run.runner import Options


@contextmanager
def chosen_players(on: str | None, options: "Options") -> Iterator["Players"]:
    """The players at ``on``, this host if None, until the block ends."""
    from testbed.run.orders import ThisHost
    from testbed.show.live import watching

    if on is None:
        yield ThisHost(options, partial(watching, err))
        return
    from testbed.run.cluster.connection import connected
    from testbed.run.cluster.players import Cluster
    from testbed.show.cluster import ClusterView

    if options.keep:
        raise SpecError.of("--keep", "leaves a world standing on this host, so it cannot be used with --on")
    with connected(on) as hosts:
        yield Cluster(hosts, options, ClusterView(err))
