"""The extras: ``host`` is what a host needs and a node does not, ``cluster`` what campaigns on several hosts need."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires

from testbed.core.errors import HostError


@contextmanager
def host_extra() -> Iterator[None]:
    """Raise HostError where an import fails because an extra is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in _modules("host"):
            raise HostError(
                f"the extra `host` is not installed ({missing} is missing), so this installation can only be a node; "
                "install it from the checkout: pip install '.[host]'"
            ) from error
        if missing in _modules("cluster"):
            raise HostError(
                f"the extra `cluster` is not installed ({missing} is missing), so runs can be played on this host "
                "alone; install it from the checkout: pip install '.[host,cluster]'"
            ) from error
        raise


def _modules(extra: str) -> set[str]:
    """The modules that an extra's packages provide: each is called like its package."""
    try:
        wanted = requires("testbed") or []
    except PackageNotFoundError:  # a checkout that is not installed
        return set()
    names = [re.split(r"[^\w.-]", line)[0] for line in wanted if re.search(rf"extra == ['\"]{extra}['\"]", line)]
    return {name.lower().replace("-", "_").partition(".")[0] for name in names}
