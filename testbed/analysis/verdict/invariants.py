"""Invariants: what holds of every run, whatever its scenario expects and whatever goes wrong in it.

They are checked from events alone; docs/results.md defines them. In a run that was interrupted, prompts and jobs may be
without an end.
"""

from collections import defaultdict
from collections.abc import Iterator, Set

from testbed.analysis.events import HOST, Event
from testbed.analysis.measurements import Measurements
from testbed.analysis.spans import JobSpan, NodeQueue, node_of


def broken_invariants(measured: Measurements) -> list[str]:
    """A sentence for each breach."""
    return [*_prompts(measured), *_jobs(measured)]


def _prompts(measured: Measurements) -> Iterator[str]:
    """Every prompt that was handed over ended once, as answered or as failed with a reason."""
    ended, given_up = (_by_prompt(measured, *kinds) for kinds in (("answer", "failed"), ("lost",)))
    for name, prompt in measured.prompts.items():
        called = f"prompt {name} of {prompt['owner']}"
        if not (ended[name] or given_up[name] or measured.interrupted):
            yield f"{called} did not end"
        for ends in (ended[name], given_up[name]):  # a prompt that the host gave up can still end at its owner
            if len(ends) > 1:
                times = ", ".join(f"{event['event']} at {event['t']:.2f} s" for event in ends)
                yield f"{called} ended {len(ends)} times: {times}"
        if not measured.failures.get(name, "answered"):
            yield f"{called} failed without a reason"


def _jobs(measured: Measurements) -> Iterator[str]:
    """Every job that was queued is done once and in its turn, or exits with its node, or nobody waits for it."""
    prompts = {event["job"]: event["prompt"] for event in measured.of("enqueue") if "prompt" in event}
    queues: defaultdict[str, NodeQueue] = defaultdict(NodeQueue)
    done: defaultdict[str, set[str]] = defaultdict(set)
    for event in measured.events:
        node = node_of(event)
        if node != HOST:
            wrong = _breaches(event, queues[node], done[node], prompts.keys())
            yield from (f"{node} {what} at {event['t']:.2f} s" for what in wrong)
            queues[node].apply(event)
            if event["event"] in ("end", "job_failed"):
                done[node].add(event["job"])
    if not measured.interrupted:
        yield from _left(measured, prompts, queues)


def _breaches(event: Event, queue: NodeQueue, done: Set[str], named: Set[str]) -> Iterator[str]:
    """What a node should not have done, as ``event`` says, with a queue that stands like this.

    ``named`` are the jobs whose names mean one inference; other clients of a node's API may use a name again.
    """
    waiting, at_work = _names(queue.waiting), _names(queue.at_work)
    match event:
        case {"event": "start", "job": job} if job in named and (job in done or job in at_work):
            yield f"did the job {job} again"
        case {"event": "start", "job": job} if waiting[:1] != [job]:
            yield f"began the job {job} out of its turn"
        case {"event": "end" | "job_failed", "job": job} if job not in at_work:
            yield f"ended the job {job}, which had not begun,"
        case {"event": "dropped" | "cancelled" as left, "job": job} if job not in waiting:
            yield f"{left} the job {job}, which was not waiting,"


def _left(measured: Measurements, prompts: dict[str, str], queues: dict[str, NodeQueue]) -> Iterator[str]:
    """Jobs that are still in a queue though somebody waits for them."""
    refused = [*measured.of("ask_failed"), *measured.of("cancel")]
    given_up = {event["message"].removesuffix("/request") for event in refused}
    resumed = {event["prompt"] for event in measured.of("resumed")}
    answered = measured.answers.keys() - resumed
    awaited = {job for job, prompt in prompts.items() if prompt in answered} - given_up
    for node, queue in queues.items():
        for job in filter(awaited.__contains__, _names([*queue.at_work, *queue.waiting])):
            yield f"{node} still has the job {job}, though {prompts[job]} was answered and nobody gave the job up"


def _names(jobs: list[JobSpan]) -> list[str]:
    return [job.name for job in jobs]


def _by_prompt(measured: Measurements, *kinds: str) -> defaultdict[str, list[Event]]:
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for kind in kinds:
        for event in measured.of(kind):
            found[event["prompt"]].append(event)
    return defaultdict(list, {prompt: sorted(ends, key=lambda event: event["t"]) for prompt, ends in found.items()})
