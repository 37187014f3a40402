"""What took time in a run: its jobs and messages, each put together from the events of its beginning and its end."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from testbed.analysis.events import Event


@dataclass(frozen=True)
class JobSpan:
    """One stay of a job in a node's queue, in seconds since the beginning of play.

    ``started`` is None while its turn has not come, ``ended`` while it is not done; one that was dropped, or went with
    its node, has ended without a ``text``. ``prompt`` and ``owner`` are empty and ``layer`` is 0 where another client
    of the node's API asked for it.
    """

    name: str
    node: str
    prompt: str
    layer: int
    owner: str
    enqueued: float
    started: float | None = None
    ended: float | None = None
    text: str | None = None
    tokens: int = 0

    @property
    def aggregates(self) -> bool:
        """Whether it reads the responses of a layer, and not the question alone."""
        return self.layer > 1

    def queueing(self, end: float) -> tuple[float, float]:
        """From when to when it waited; at the latest until ``end``."""
        known = [time for time in (self.started, self.ended) if time is not None]
        return self.enqueued, min([*known, end])

    def inference(self, end: float) -> tuple[float, float]:
        """From when to when the model was at it; at the latest until ``end``."""
        begin = end if self.started is None else self.started
        return begin, end if self.ended is None else min(self.ended, end)


@dataclass(frozen=True)
class MessageSpan:
    """A message on its way over the emulated network; ``received`` is None of one that did not arrive."""

    name: str
    sender: str
    receiver: str
    size: int
    sent: float
    received: float | None = None

    @property
    def kind(self) -> str:
        """``request`` or ``response``"""
        return self.name.rpartition("/")[2].partition("-")[0]


def job_spans(events: Iterable[Event]) -> list[JobSpan]:
    """All stays of jobs in queues, in the order in which they came."""
    spans: list[JobSpan] = []
    open_: dict[str, int] = {}  # the index of a job's stay that has not ended
    for event in events:
        match event["event"]:
            case "enqueue":
                open_[event["job"]] = len(spans)
                spans.append(_enqueued(event))
            case "start" if (index := open_.get(event["job"])) is not None:
                spans[index] = replace(spans[index], started=event["t"])
            case "end" | "job_failed" | "dropped" if (index := open_.pop(event["job"], None)) is not None:
                text, tokens = event.get("text"), event.get("tokens", 0)
                spans[index] = replace(spans[index], ended=event["t"], text=text, tokens=tokens)
            case "exited":
                for name in [name for name, index in open_.items() if spans[index].node == event["who"]]:
                    index = open_.pop(name)
                    spans[index] = replace(spans[index], ended=event["t"])
    return spans


def _enqueued(event: Event) -> JobSpan:
    layer = str(event.get("layer", ""))  # other clients of the node's API say what they like
    return JobSpan(
        event["job"],
        event["node"],
        str(event.get("prompt", "")),
        int(layer) if layer.isdecimal() else 0,
        str(event.get("owner", "")),
        event["t"],
    )


def message_spans(events: Iterable[Event]) -> list[MessageSpan]:
    """All messages, in the order in which they were sent."""
    spans: list[MessageSpan] = []
    on_the_way: dict[str, int] = {}  # the index of the last that was sent by this name
    for event in events:
        match event["event"]:
            case "send":
                on_the_way[event["message"]] = len(spans)
                spans.append(MessageSpan(event["message"], event["node"], event["peer"], event["bytes"], event["t"]))
            case "receive" if (index := on_the_way.pop(event["message"], None)) is not None:
                spans[index] = replace(spans[index], received=event["t"])
    return spans
