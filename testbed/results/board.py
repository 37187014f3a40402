"""How the nodes stand right now, folded from their events as they come in."""

from dataclasses import dataclass, field

from testbed.results.events import Event


@dataclass
class NodeBoard:
    """One node. ``queue`` counts the jobs that wait and the one at work; ``layer`` is the last that any of its jobs was
    for; memory is in bytes."""

    state: str = "starting"
    queue: int = 0
    tokens: int = 0
    busy: float = 0.0
    answered: int = 0
    failed: int = 0
    layer: int = 0
    memory: int = 0
    memory_cap: int = 0
    started_at: float = field(default=0.0, repr=False)

    @property
    def decoding_rate(self) -> float:
        """Tokens written per second of inference."""
        return self.tokens / self.busy if self.busy else 0.0

    def apply(self, event: Event) -> None:
        """Move on by one event of this node."""
        match event["event"]:
            case "ready":
                self.state = "idle"
                self.queue = 0  # what waited before a restart went with it
            case "enqueue":
                self.queue += 1
                layer = str(event.get("layer", ""))  # other clients of the node's API say what they like
                self.layer = max(self.layer, int(layer) if layer.isdecimal() else 0)
            case "start":
                self.state = "inferring"
                self.started_at = event["t"]
            case "end" | "job_failed":
                self.state = "idle"
                self.queue -= 1
                self.busy += event["t"] - self.started_at
                self.tokens += event.get("tokens", 0)
            case "dropped":
                self.queue -= 1
            case "answer":
                self.answered += 1
            case "failed":
                self.failed += 1
