"""Nodes that prove who they are, and others that try to come in."""

import asyncio
import ssl
from collections.abc import Mapping

from testbed.node.transport.door import Door
from testbed.node.transport.refusals import Traffic
from testbed.schema.scenario import Security
from testbed.world.authority import issue


class Refused(list[tuple[Traffic, str, int]]):
    """What a door has reported."""

    def report(self, traffic: Traffic, reason: str, count: int) -> None:
        self.append((traffic, reason, count))

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self]

    def count(self, traffic: Traffic) -> int:  # type: ignore[override]
        """How many of a kind of traffic were refused, as far as reported."""
        return sum(count for kind, _, count in self if kind == traffic)


def doors(security: Security, addresses: Mapping[str, str]) -> tuple[dict[str, Door], dict[str, Refused]]:
    """The doors of the nodes of one run, and what each refuses."""
    refused = {name: Refused() for name in addresses}
    issued = issue(security, addresses)
    return {name: Door.of(issued[name], refused[name].report) for name in addresses}, refused


def unverifying(door: Door) -> Door:
    """The same, which connects to servers whoever they are."""
    if door.tls is not None:
        door.tls.client.check_hostname = False
        door.tls.client.verify_mode = ssl.CERT_NONE
    return door


async def sent(host: str, port: int, data: bytes) -> bytes:
    """All that comes back on a new connection on which ``data`` is sent."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
