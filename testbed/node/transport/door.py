"""How a node's traffic is secured: what requests, datagrams and streams ask before they send or take anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from testbed.node.transport.credentials import Credentials
from testbed.node.transport.refusals import Refusals, Report
from testbed.node.transport.signing import Signer
from testbed.node.transport.tls import Tls


def _ignore(*_: object) -> None:
    pass


def signer_of(credentials: Credentials, name: str) -> Signer:
    """What signs in the name of ``name`` with the keys in ``credentials``, which are that node's own or are not."""
    return Signer(name, {peer: bytes.fromhex(member.key) for peer, member in credentials.members.items()})


@dataclass(frozen=True)
class Door:
    """What secures each kind of traffic; nothing by default.

    ``messages`` signs requests, responses and streams, and ``datagrams`` what its name says. ``tls`` carries requests
    and streams. ``names`` are the nodes of the run by their addresses.
    """

    refusals: Refusals = field(default_factory=lambda: Refusals(_ignore))
    names: Mapping[str, str] = field(default_factory=dict)
    messages: Signer | None = None
    datagrams: Signer | None = None
    tls: Tls | None = None

    @classmethod
    def of(cls, credentials: Credentials | None, report: Report) -> Self:
        """The door of a node that has these credentials. Whatever is refused is told to ``report``."""
        refusals = Refusals(report)
        if credentials is None:
            return cls(refusals)
        members = credentials.members
        names = {member.address: name for name, member in members.items()}
        signer = signer_of(credentials, credentials.name)
        if credentials.scheme == "signed":
            return cls(refusals, names, messages=signer, datagrams=signer)
        tls = Tls(credentials, lambda reason: refusals.note("handshakes", reason))
        return cls(refusals, names, datagrams=signer, tls=tls)
