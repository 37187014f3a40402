"""How the nodes stand right now, folded from their events as they come in."""

from dataclasses import dataclass, field

from testbed.analysis.events import Event


@dataclass
class NodeBoard:
    """One node. ``queue`` counts the jobs that wait and those at work, ``at_work`` holds the latter with the times at
    which they began; ``layer`` is the last that any of its jobs begun was for; memory is in bytes."""

    state: str = "starting"
    queue: int = 0
    tokens: int = 0
    busy: float = 0.0
    answered: int = 0
    failed: int = 0
    layer: int = 0
    memory: int = 0
    memory_cap: int = 0
    at_work: dict[str, float] = field(default_factory=dict)
    _layers: dict[str, int] = field(default_factory=dict)
    """Of its jobs."""

    @property
    def decoding_rate(self) -> float:
        """Tokens written per second of inference."""
        return self.tokens / self.busy if self.busy else 0.0

    def apply(self, event: Event) -> None:
        """Move on by one event of this node."""
        match event["event"]:
            case "ready":
                self.state = "idle"
                self.queue = 0  # what was there before a restart went with it
                self.at_work.clear()
            case "enqueue":
                self.queue += 1
                layer = str(event.get("layer", ""))  # other clients of the node's API say what they like
                self._layers[event["job"]] = int(layer) if layer.isdecimal() else 0
            case "start":
                self.state = "inferring"
                self.layer = max(self.layer, self._layers[event["job"]])
                self.at_work[event["job"]] = event["t"]
            case "end" | "job_failed":
                self.queue -= 1
                self.busy += event["t"] - self.at_work.pop(event["job"])
                self.state = "inferring" if self.at_work else "idle"
                self.tokens += event.get("tokens", 0)
            case "dropped":
                self.queue -= 1
            case "answer":
                self.answered += 1
            case "failed":
                self.failed += 1
