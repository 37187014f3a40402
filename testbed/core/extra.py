"""The extra ``host``: the packages that a host needs and a node does not."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires

from testbed.core.errors import HostError


@contextmanager
def host_extra() -> Iterator[None]:
    """Raise HostError where an import fails because the extra ``host`` is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _modules():
            raise
        raise HostError(
            f"the extra `host` is not installed ({missing} is missing), so this installation can only be a node; "
            "install it from the checkout: pip install '.[host]'"
        ) from error


def _modules() -> set[str]:
    """The modules that the extra's packages provide: each is called like its package."""
    try:
        wanted = requires("testbed") or []
    except PackageNotFoundError:  # a checkout that is not installed
        return set()
    names = [re.split(r"[^\w.-]", line)[0] for line in wanted if re.search(r"extra == ['\"]host['\"]", line)]
    return {name.lower().replace("-", "_").partition(".")[0] for name in names}
