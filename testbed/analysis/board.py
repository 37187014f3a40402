"""The state of each node at this moment, folded from its events as they come in."""

from dataclasses import dataclass, field

from testbed.analysis.events import Event
from testbed.analysis.spans import NodeQueue


@dataclass
class NodeBoard:
    """The state of one node.

    ``queue`` counts the jobs that wait and those at work. ``at_work`` holds the starting times of the latter by name.
    ``layer`` is the highest layer of any job that has started. ``busy`` and ``latency``, the sum over the answered
    prompts, are in seconds, memory in bytes.
    """

    state: str = "starting"
    queue: int = 0
    tokens: int = 0
    busy: float = 0.0
    answered: int = 0
    failed: int = 0
    latency: float = 0.0
    layer: int = 0
    memory: int = 0
    memory_cap: int = 0
    at_work: dict[str, float] = field(default_factory=dict)
    _jobs: NodeQueue = field(default_factory=NodeQueue)
    _arrived: dict[str, float] = field(default_factory=dict)

    @property
    def decoding_rate(self) -> float:
        """Tokens written per second of inference."""
        return self.tokens / self.busy if self.busy else 0.0

    def apply(self, event: Event) -> None:
        """Move on by one event of this node."""
        match event["event"]:
            case "ready":
                self._apply_to_queue(event)
                self.state = "idle"
            case "enqueue" | "start" | "end" | "job_failed" | "dropped" | "cancelled":
                self._apply_to_queue(event)
            case "arrival":
                self._arrived[event["prompt"]] = event["t"]
            case "answer":
                self.answered += 1
                self.latency += event["t"] - self._arrived.pop(event["prompt"], event["t"])
            case "failed":
                self.failed += 1

    def _apply_to_queue(self, event: Event) -> None:
        job = self._jobs.apply(event)
        self.queue = len(self._jobs)
        self.at_work = {span.name: span.started or 0.0 for span in self._jobs.at_work}
        if job is None or job.started is None:
            return
        self.layer = max(self.layer, job.layer)
        self.state = "inferring" if self.at_work else "idle"
        if job.ended is not None:
            self.busy += job.ended - job.started
            self.tokens += job.tokens
