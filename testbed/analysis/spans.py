"""Spans of a run: the jobs in its queues, its requests and its messages, each paired from its first and last event."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from testbed.analysis.events import Event


@dataclass
class JobSpan:
    """One stay of a job in a node's queue. Times are seconds since the beginning of play.

    ``started`` is None while the job waits, ``first_token`` until it has one, ``ended`` while it has not left the
    queue. ``gaps`` are between tokens that the model drew, the one that ends an answer included. ``text`` is None
    unless the job ended with a completion: it failed, was dropped, or its node exited. ``prompt``, ``owner`` and
    ``role`` are empty and ``layer`` is 0 if another client of the node's API asked for the job.
    """

    name: str
    node: str
    prompt: str
    layer: int
    role: str
    owner: str
    enqueued: float
    started: float | None = None
    ended: float | None = None
    text: str | None = None
    tokens: int = 0
    first_token: float | None = None
    gaps: int = 0

    @classmethod
    def of(cls, event: Event) -> "JobSpan":
        """The stay that ``event`` begins. Metadata of foreign clients can hold anything."""
        layer = str(event.get("layer", ""))
        return cls(
            event["job"],
            event["node"],
            str(event.get("prompt", "")),
            int(layer) if layer.isdecimal() else 0,
            str(event.get("role", "")),
            str(event.get("owner", "")),
            event["t"],
        )

    def queueing(self, end: float) -> tuple[float, float]:
        """The interval in which the job waited, cut off at ``end``."""
        known = [time for time in (self.started, self.ended) if time is not None]
        return self.enqueued, min([*known, end])

    def inference(self, end: float) -> tuple[float, float]:
        """The interval in which the model worked on the job, cut off at ``end``."""
        begin = end if self.started is None else self.started
        return begin, end if self.ended is None else min(self.ended, end)


@dataclass
class NodeQueue:
    """The queue of one node, which its events move on.

    ``waiting`` and ``at_work`` are in the order of arrival; ``stays`` are all that there ever were, and can be shared
    with the queues of other nodes.
    """

    stays: list[JobSpan] = field(default_factory=list)
    waiting: list[JobSpan] = field(default_factory=list)
    at_work: list[JobSpan] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.waiting) + len(self.at_work)

    def apply(self, event: Event) -> JobSpan | None:
        """Move on by an event of the node; returns the stay that it begins, starts or ends.

        A job that starts without having been queued is queued at its start. Other events that fit no job are ignored.
        """
        match event["event"]:
            case "enqueue":
                self.waiting.append(self._enter(event))
                return self.waiting[-1]
            case "start":
                span = _take(event["job"], self.waiting) or self._enter(event)
                span.started = event["t"]
                self.at_work.append(span)
                return span
            case "first_token":
                for span in [span for span in self.at_work if span.name == event["job"]][:1]:
                    span.first_token = event["t"]
            case "end" | "job_failed":
                return _ended(_take(event["job"], self.at_work) or _take(event["job"], self.waiting), event)
            case "dropped" | "cancelled":
                return _ended(_take(event["job"], self.waiting), event)
            case "ready" | "exited":
                for span in (*self.waiting, *self.at_work):
                    span.ended = event["t"]
                self.waiting.clear()
                self.at_work.clear()
        return None

    def _enter(self, event: Event) -> JobSpan:
        self.stays.append(JobSpan.of(event))
        return self.stays[-1]


def _take(job: str, spans: list[JobSpan]) -> JobSpan | None:
    """The first stay of ``job``, which leaves ``spans``; None if there is none."""
    for index, span in enumerate(spans):
        if span.name == job:
            return spans.pop(index)
    return None


def _ended(span: JobSpan | None, event: Event) -> JobSpan | None:
    if span is not None:
        span.ended, span.text, span.tokens = event["t"], event.get("text"), event.get("tokens", 0)
        span.gaps = span.tokens + event.get("stopped", False) - 1
    return span


def node_of(event: Event) -> str:
    """The node that an event is about: the one that wrote it, or the one that the host saw exiting."""
    return str(event["who"] if event["event"] == "exited" else event["node"])


@dataclass
class MessageSpan:
    """A message on the emulated network; ``received`` is None if it did not arrive. ``size`` is in bytes."""

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


def message_spans(events: Iterable[Event]) -> list[MessageSpan]:
    """All messages, in the order in which they were sent."""
    spans: list[MessageSpan] = []
    in_flight: dict[str, MessageSpan] = {}  # the last message that was sent under this name
    for event in events:
        match event["event"]:
            case "send":
                span = MessageSpan(event["message"], event["node"], event["peer"], event["bytes"], event["t"])
                in_flight[span.name] = span
                spans.append(span)
            case "receive" if (sent := in_flight.pop(event["message"], None)) is not None:
                sent.received = event["t"]
    return spans


@dataclass(frozen=True)
class RequestSpan:
    """The time for which a node waited for a peer to do a job: until the response, or until it gave the job up."""

    job: str
    begin: float
    end: float
    failed: bool = False

    @property
    def prompt(self) -> str:
        """The prompt that the job serves: a job's name begins with it."""
        return self.job.partition(".")[0]


def request_spans(events: Iterable[Event]) -> list[RequestSpan]:
    """All requests that ended, in the order of their ends. Further attempts belong to the first one's span."""
    spans: list[RequestSpan] = []
    begins: dict[str, float] = {}
    for event in events:
        job, _, part = event.get("message", "").partition("/")
        match event["event"]:
            case "send" if part == "request":
                begins[job] = event["t"]
            case "receive" if part.startswith("response") and job in begins:
                spans.append(RequestSpan(job, begins.pop(job), event["t"]))
            case "ask_failed" if job in begins:
                spans.append(RequestSpan(job, begins.pop(job), event["t"], failed=True))
    return spans
