"""The numbers of links and nodes for people, in a drawing or a table."""

from collections.abc import Iterator
from pathlib import Path

from testbed.core.units import BANDWIDTH, DURATION, SIZE
from testbed.schema.network.direction import Direction, Queue
from testbed.schema.network.link import Link
from testbed.schema.network.node import AgentNode, Emulated, Node


def bandwidth(direction: Direction) -> str:
    """``10 mbit``; the name of the file for a recorded link."""
    if direction.trace:
        return Path(direction.trace.path).name
    return BANDWIDTH.readable(direction.bandwidth) if direction.bandwidth else "unlimited"


def delay(direction: Direction) -> str:
    """``20 ms ± 5 ms``"""
    jitter = f" ± {_duration(direction.jitter.deviation)}" if direction.jitter.deviation else ""
    return f"{_duration(direction.delay)}{jitter}"


def loss(direction: Direction) -> str:
    """``0.1 %``, or ``1 % in bursts``; empty without loss."""
    bursts = " in bursts" if direction.loss.to_bad else ""
    return f"{_share(direction.loss.mean)}{bursts}" if direction.loss.mean else ""


def others(direction: Direction) -> str:
    """The less common properties, separated by commas."""
    return ", ".join(_others(direction))


def short(direction: Direction) -> str:
    """All properties in one line."""
    texts = (bandwidth(direction), delay(direction), loss(direction), others(direction))
    return " · ".join(filter(None, texts))


def directions(link: Link) -> list[tuple[str, str, str, Direction]]:
    """The directions as (from, arrow, to, properties); one entry for both if they do not differ."""
    if link.up == link.down:
        return [(link.a, "↔", link.b, link.up)]
    return [(link.a, "→", link.b, link.up), (link.b, "→", link.a, link.down)]


def about(node: Node) -> list[str]:
    """The model of a node that runs an agent, and its device, or its kind if it is not emulated."""
    model = [node.model] if isinstance(node, AgentNode) else []
    return [*model, _device(node) if isinstance(node, Emulated) else node.kind]


def _device(node: Emulated) -> str:
    """``0.3 CPUs, 160 MiB``, or the name of a profile and the memory."""
    cpus = node.device if node.cpus is None else f"{node.cpus:g} CPUs"
    return f"{cpus}, {SIZE.readable(node.memory)}"


def _others(direction: Direction) -> Iterator[str]:
    shares = {"duplicated": direction.duplicate, "reordered": direction.reorder, "corrupted": direction.corrupt}
    yield from (f"{_share(share)} {word}" for word, share in shares.items() if share)
    if direction.queue:
        yield f"queue {_queue(direction.queue)}"
    if direction.cut:
        yield "cut"


def _queue(queue: Queue) -> str:
    if queue.packets is not None:
        return f"{queue.packets} packets"
    return SIZE.readable(queue.bytes) if queue.bytes is not None else _duration(queue.seconds or 0.0)


def _duration(seconds: float) -> str:
    return DURATION.readable(seconds) if seconds else "0"


def _share(share: float) -> str:
    return f"{share * 100:.3g} %"
