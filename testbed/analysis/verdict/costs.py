"""What prompts cost: the calls and messages of each, held to what the pattern says of itself.

A call is a job that the owner's pattern asked a node for; asking again after a failure names the same job. A call to
another node is one request and one response.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from typing import Final

from testbed.analysis.measurements import Measurements

Calls = Mapping[str, tuple[int, int]]
"""The calls of a prompt if none fails, at least and at most, by owner."""

_TROUBLES: Final = ("ask_failed", "cancel", "retry", "late")  # events that name a message
_FAILED_JOBS: Final = ("job_failed", "dropped", "rejected", "cancelled", "duplicate")
_ABSENCES: Final = ("neighbour_suspected", "neighbour_lost")


def wrong_costs(measured: Measurements, expected: Calls) -> Iterator[str]:
    """A sentence for each prompt that cost another number of calls or messages than ``expected``.

    A prompt that was taken up again after a restart is not judged. One that did not reach its answer, or met a
    failure, can cost less.
    """
    jobs, messages = _jobs(measured), _messages(measured)
    resumed, troubled = {event["prompt"] for event in measured.of("resumed")}, _troubled(measured)
    away = any(measured.of(kind) for kind in _ABSENCES)
    for prompt, event in measured.prompts.items():
        owner = event["owner"]
        if owner not in expected or prompt in resumed:
            continue
        (least, most), made = expected[owner], jobs[prompt]
        untroubled = prompt in measured.answers and prompt not in troubled and not away
        if len(made) > most or (untroubled and len(made) < least):
            calls = str(most) if least == most else f"{least} to {most}"
            yield f"prompt {prompt} of {owner} took {len(made)} calls, not {calls}"
        remote = [job for job, node in made.items() if node != owner]
        sent = sum(messages[job] for job in remote)
        if untroubled and sent != 2 * len(remote):
            yield f"prompt {prompt} of {owner} took {sent} messages for {len(remote)} calls to other nodes"


def _jobs(measured: Measurements) -> defaultdict[str, dict[str, str]]:
    """By prompt, the jobs that its owner asked for, and the node that got each."""
    owners = {prompt: event["owner"] for prompt, event in measured.prompts.items()}
    jobs: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for event in (*measured.of("enqueue"), *measured.of("rejected")):
        prompt = event.get("prompt")
        if prompt in owners and event.get("owner") == owners[prompt]:
            jobs[prompt][event["job"]] = event["node"]
    return jobs


def _messages(measured: Measurements) -> defaultdict[str, int]:
    """How many messages were sent about each job."""
    sent: defaultdict[str, int] = defaultdict(int)
    for event in measured.of("send"):
        sent[event["message"].rpartition("/")[0]] += 1
    return sent


def _troubled(measured: Measurements) -> Set[str]:
    """The prompts with a job that failed, was given up, or was asked for more than once.

    A job's name begins with its prompt, that of a delegated prompt as well. The node that a job was meant for may have
    been down, and know nothing of it.
    """
    by_message = {event["message"].rpartition("/")[0] for kind in _TROUBLES for event in measured.of(kind)}
    jobs = by_message | {event["job"] for kind in _FAILED_JOBS for event in measured.of(kind)}
    return {job.partition(".")[0].partition(">")[0] for job in jobs}
