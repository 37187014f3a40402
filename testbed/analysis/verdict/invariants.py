"""What holds of every run, whatever its scenario expects and whatever goes wrong in it; computed from events alone.

docs/results.md says it in full. A run that was interrupted has prompts and jobs that did not come to their end; all
else holds of it, too.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field

from testbed.analysis.events import HOST, Event
from testbed.analysis.metrics import Measurements


def broken_invariants(measurements: Measurements) -> list[str]:
    """What did not hold, as sentences."""
    return [*_prompts(measurements), *_jobs(measurements)]


def _prompts(measurements: Measurements) -> Iterator[str]:
    """Every prompt that was handed over ended once, as answered or as failed with a reason."""
    ended, given_up = (_by_prompt(measurements.events, kinds) for kinds in ({"answer", "failed"}, {"lost"}))
    for name, prompt in measurements.prompts.items():
        called = f"prompt {name} of {prompt['owner']}"
        if not (ended[name] or given_up[name] or measurements.interrupted):
            yield f"{called} did not end"
        for ends in (ended[name], given_up[name]):  # what the host gave up may still end at its owner
            if len(ends) > 1:
                times = ", ".join(f"{event['event']} at {event['t']:.2f} s" for event in ends)
                yield f"{called} ended {len(ends)} times: {times}"
        if not measurements.failures.get(name, "answered"):
            yield f"{called} failed without a reason"


def _jobs(measurements: Measurements) -> Iterator[str]:
    """Every job that was queued is done once and in its turn, or went with its node, or nobody waits for it."""
    events = measurements.events
    prompts = {event["job"]: event["prompt"] for event in events if event["event"] == "enqueue" and "prompt" in event}
    queues: defaultdict[str, _Queue] = defaultdict(lambda: _Queue(prompts.keys()))
    for event in events:
        node = event["who"] if event["event"] == "exited" else event["node"]
        if node != HOST:
            yield from (f"{node} {wrong} at {event['t']:.2f} s" for wrong in queues[node].apply(event))
    if measurements.interrupted:
        return
    given_up = {event["message"].removesuffix("/request") for event in events if event["event"] == "ask_failed"}
    resumed = {event["prompt"] for event in events if event["event"] == "resumed"}
    answered = measurements.answers.keys() - resumed
    awaited = {job for job, prompt in prompts.items() if prompt in answered} - given_up
    for node, queue in queues.items():
        for job in filter(awaited.__contains__, queue.at_work + queue.waiting):
            yield f"{node} still has the job {job}, though {prompts[job]} was answered and nobody gave the job up"


@dataclass
class _Queue:
    """A node's queue, folded from its events: the jobs that wait, in their order, those at work, and those it has done.

    ``named`` are the jobs whose names mean one inference; other clients of a node's API may use a name again.
    """

    named: Set[str]
    waiting: list[str] = field(default_factory=list)
    at_work: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)

    def apply(self, event: Event) -> Iterator[str]:
        """Move on by one event; yields what the node should not have done."""
        match event:
            case {"event": "ready" | "exited"}:
                self.waiting.clear()  # what was there went with the node
                self.at_work.clear()
            case {"event": "enqueue", "job": job}:
                self.waiting.append(job)
            case {"event": "start", "job": job}:
                if job in self.named and (job in self.done or job in self.at_work):
                    yield f"did the job {job} again"
                elif self.waiting[:1] != [job]:
                    yield f"began the job {job} out of its turn"
                _remove(job, self.waiting)
                self.at_work.append(job)
            case {"event": "end" | "job_failed", "job": job}:
                if not _remove(job, self.at_work):
                    yield f"was done with the job {job}, which it was not at,"
                self.done.add(job)
            case {"event": "dropped", "job": job}:
                if not _remove(job, self.waiting):
                    yield f"dropped the job {job}, which was not waiting,"


def _remove(job: str, jobs: list[str]) -> bool:
    """Take a job out; False if it is not there."""
    if job not in jobs:
        return False
    jobs.remove(job)
    return True


def _by_prompt(events: Sequence[Event], kinds: Set[str]) -> defaultdict[str, list[Event]]:
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event["event"] in kinds:
            found[event["prompt"]].append(event)
    return found
