"""The members of a panel, as a scenario names them, and their answers."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from testbed.patterns.base import Mistake, Pattern
from testbed.patterns.participant import Call, Completion, JobError, Participant, Peer, Surroundings

Keyword = Literal["self", "all", "linked"]
Members = Keyword | Annotated[list[str], Field(min_length=1)]
"""``self`` is the owner, ``all`` the owner and every other node, ``linked`` the owner and the nodes linked to it.

A list names nodes, among which ``self`` is the owner.
"""

SELF: Final = "self"


def reach_of(members: Members) -> Literal["all", "linked"]:
    """Whom an owner must be able to call."""
    return "linked" if members == "linked" else "all"


def member_names(members: Members, owner: Surroundings) -> list[str]:
    """The nodes on the panel of ``owner``, each once, the owner first if a keyword includes it."""
    name = owner.itself.name
    if isinstance(members, list):
        return list(dict.fromkeys(name if member == SELF else member for member in members))
    peers = [peer.name for peer in owner.peers if members != "linked" or peer.linked]
    return [name] if members == SELF else [name, *peers]


def member_mistakes(key: str, members: Members, nodes: Collection[str]) -> Iterator[Mistake]:
    """What does not fit a topology with ``nodes``."""
    if not isinstance(members, list):
        return
    for number, name in enumerate(members):
        if name in members[:number]:
            yield (key, number), f"{name!r} is twice in `{key}`; name each node once"
        elif name == SELF and SELF in nodes:
            yield (key, number), "`self` is the owner of a prompt, and a node has the same name; rename the node"
        elif name != SELF and name not in nodes:
            yield (key, number), f"there is no node {name!r}; known are self, {', '.join(nodes)}"


class PanelPattern(Pattern):
    """A pattern in which the owner of a prompt asks the members of a panel."""

    members: Members

    @property
    def reach(self) -> Literal["all", "linked"]:
        return reach_of(self.members)

    def mistakes(self, nodes: Mapping[str, Surroundings], owners: Sequence[str]) -> Iterator[Mistake]:
        """Members that the topology's ``nodes`` lack."""
        del owners
        return member_mistakes("members", self.members, nodes)


def asked_per_arrival(members: Members, neighbours: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """By node, the number of owners whose panels it is on, given whom each node may call."""
    panels = [
        member_names(members, Surroundings(Peer(owner), [Peer(peer) for peer in peers]))
        for owner, peers in neighbours.items()
    ]
    return {node: sum(node in panel for panel in panels) for node in neighbours}


@dataclass(frozen=True)
class Member:
    """A node on a panel; without a peer, it is the owner itself."""

    name: str
    peer: Peer | None = None


def present_members(members: Members, owner: Participant) -> list[Member]:
    """The members that are there, in the order in which the scenario names them."""
    peers = {peer.name: peer for peer in owner.peers}
    named = member_names(members, Surroundings(owner.itself, owner.peers))
    panel = [Member(name, peers.get(name)) for name in named if name == owner.name or name in peers]
    return [member for member in panel if member.peer is None or member.peer.present]


async def ask(owner: Participant, calls: Sequence[tuple[Member, Call]], timeout: float) -> list[Completion | None]:
    """The completions of ``calls``, which run side by side, in their order; None of those that fail or are late.

    Raises JobError if all of them fail.
    """
    asked = [asyncio.ensure_future(ask_one(owner, member, call, timeout)) for member, call in calls]
    try:
        completions = [await one for one in asked]
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    if not any(completions):
        raise nobody(calls)
    return completions


async def ask_one(owner: Participant, member: Member, call: Call, timeout: float) -> Completion | None:
    """The completion; None if it fails or is late."""
    with suppress(JobError):
        return await owner.complete(call, member.peer, timeout)
    return None


def nobody(calls: Sequence[tuple[Member, Call]]) -> JobError:
    """Why there is no answer."""
    return JobError(f"none of {', '.join(dict.fromkeys(member.name for member, _ in calls))} answered")
