"""The connection to a Dask scheduler, which beyond the loopback interface must be encrypted."""

import platform
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from distributed import Client
from distributed.security import Security

from testbed.core.errors import HostError, SpecError
from testbed.run.cluster import remote

RESOURCE: Final = "testbed"
"""The resource of a worker that may play runs: one of it is one run at a time."""

_PATIENCE: Final = 10
"""Seconds that the scheduler has to answer."""

START: Final = f"dask worker SCHEDULER --resources {RESOURCE}=1 --nthreads 1 --no-dashboard"
"""The command that starts a worker."""


class DaskHosts:
    """The hosts of the workers of a scheduler. The key of a host is its address; its workers take turns."""

    def __init__(self, client: Client) -> None:
        """Raises HostError if there is no worker, or one that cannot play."""
        self._client = client
        self._names: dict[str, str] = {}
        if not self.present():
            raise HostError(f"the cluster has no worker; on each host: sudo {START}")

    def present(self) -> Mapping[str, str]:
        """The names of the hosts that have a worker now."""
        return {worker["host"]: self._name(address) for address, worker in self._workers().items()}

    def executor(self, host: str) -> Executor:
        executor: Executor = self._client.get_executor(
            workers=[host], allow_other_workers=False, resources={RESOURCE: 1}, pure=False
        )
        return executor

    def stop(self, campaign: str) -> set[str]:
        hosts = {address: worker["host"] for address, worker in self._workers().items()}
        playing = self._client.run(remote.stop, campaign, on_error="ignore")
        return {hosts[address] for address, plays in playing.items() if plays and address in hosts}

    def _workers(self) -> dict[str, Any]:
        if self._client.status != "running":
            raise HostError("the cluster's scheduler does not answer any more; start it and repeat the command")
        workers: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def _name(self, address: str) -> str:
        """The name of a worker's host; raises HostError if the worker cannot play."""
        if address not in self._names:
            worker = self._workers()[address]
            _check_encrypted(address)
            if not worker["resources"].get(RESOURCE):
                raise HostError(f"the worker {address} has no resource `{RESOURCE}`; start it by: sudo {START}")
            (self._names[address],) = self._client.run(platform.node, workers=[address]).values()
        return self._names[address]


@contextmanager
def connected(address: str) -> Iterator[DaskHosts]:
    """The hosts of the scheduler at an address like ``tcp://127.0.0.1:8786`` or ``tls://HOST:8786``.

    Certificates come from Dask's own settings (``distributed.comm.tls``). Raises SpecError for an address that is
    wrong, or not encrypted beyond loopback, and HostError if nobody answers there.
    """
    security = _security(address)
    try:
        client = Client(address, security=security, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise HostError(f"no Dask scheduler answers at {address} ({error}); start one: dask scheduler") from None
    with client:
        _check_encrypted(client.scheduler_info(n_workers=0)["address"])
        yield DaskHosts(client)


def _security(address: str) -> Security:
    """Dask's settings for an address; raises SpecError."""
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or not _port(address):
        raise SpecError.of("--on", f"{address!r} must read tcp://127.0.0.1:8786, tls://HOST:8786 or ssh:FILE")
    _check_encrypted(address)
    security = Security()
    if parts.scheme == "tls" and not (security.tls_ca_file and security.tls_client_cert):
        raise SpecError.of(
            "--on",
            f"{address} needs certificates; name them in Dask's settings, distributed.comm.tls.ca-file and .client",
        )
    return security


def _port(address: str) -> int | None:
    with suppress(ValueError):
        return urlsplit(address).port
    return None


def _check_encrypted(address: str) -> None:
    """Raises SpecError if others could read, or send, what goes to an address: Dask executes what it is sent."""
    parts = urlsplit(address)
    if parts.scheme != "tls" and not _is_loopback(parts.hostname or ""):
        raise SpecError.of(
            "--on",
            f"{address} is neither loopback nor encrypted, so anybody could have code executed; give scheduler "
            "and workers certificates (Dask's --tls-ca-file, --tls-cert, --tls-key), and name it tls://…",
        )


def _is_loopback(host: str) -> bool:
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(ip_address(one).is_loopback for one in found)
