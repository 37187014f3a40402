"""What a node did before it was started again, from its event file.

The kernel has an event before anything follows from it. So the file says what was accepted and what was done, and no
second file can contradict it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from testbed.node.engine.queue import Outcome
from testbed.patterns.participant import Completion, JobError, LogProbabilities, Prompt, Verification

UNNAMED: Final = "request-"
"""How the jobs of requests begin that have no name of their own."""


@dataclass(frozen=True)
class Past:
    """Jobs, prompts and delegations that ended, with their outcomes; and prompts that were accepted and did not end.

    ``contents`` tells requests of one name apart: the text of a prompt, a hash of the others.
    """

    began: bool = False
    jobs: dict[str, Outcome | JobError] = field(default_factory=dict)
    prompts: dict[str, str | JobError] = field(default_factory=dict)
    delegations: dict[str, str | JobError] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    unfinished: tuple[Prompt, ...] = ()


def recall(path: Path) -> Past:
    """What the event file of a node holds; nothing if there is no file.

    Only named jobs that serve a prompt are recalled: other clients' requests need not have a name of their own.
    """
    accepted: dict[str, Prompt] = {}
    named: set[str] = set()
    past = Past(began=path.exists())
    for event in _events(path):
        match event:
            case {"event": "arrival", "prompt": name}:
                accepted[name] = prompt = _arrived(event)
                past.contents[name] = content_of(prompt)
            case {"event": "answer", "prompt": prompt, "text": text}:
                past.prompts[prompt] = text
            case {"event": "failed", "prompt": prompt, "reason": reason}:
                past.prompts[prompt] = JobError(reason)
            case {"event": "delegation", "name": name, "content": content}:
                past.contents[name] = content
            case {"event": "delegation_answer", "name": name, "text": text}:
                past.delegations[name] = text
            case {"event": "enqueue", "job": job, "prompt": _} if not job.startswith(UNNAMED):
                named.add(job)
                past.contents[job] = event.get("content", "")
            case {"event": "end", "job": job} if job in named:
                past.jobs[job] = _outcome(event)
            case {"event": "misbehaved", "job": job, "text": text} if job in named:
                past.jobs[job] = _said_instead(past.jobs[job], text)
            case {"event": "job_failed", "job": job, "reason": reason} if job in named:
                past.jobs[job] = JobError(reason)
    unfinished = tuple(prompt for name, prompt in accepted.items() if name not in past.prompts)
    return replace(past, unfinished=unfinished)


def as_arrival(prompt: Prompt) -> dict[str, Any]:
    """The fields of the event ``arrival``, from which a node that was started again takes the prompt up."""
    written: dict[str, Any] = {"prompt": prompt.id, "text": prompt.text, "label": prompt.label}
    if prompt.before:
        written["before"] = prompt.before
    if prompt.privacy:
        written["privacy"] = prompt.privacy
    if prompt.allowed:
        written["allowed"] = prompt.allowed
    if prompt.tokens:
        written["tokens"] = prompt.tokens
    return written


def content_of(prompt: Prompt) -> str:
    """Equal strings for prompts that ask the same."""
    told = [*prompt.before, prompt.text, *prompt.allowed]
    return json.dumps(told) if len(told) > 1 else prompt.text


def _arrived(arrival: dict[str, Any]) -> Prompt:
    before, allowed = tuple(arrival.get("before", ())), tuple(arrival.get("allowed", ()))
    label, privacy = arrival.get("label", ""), arrival.get("privacy")
    return Prompt(
        arrival["prompt"],
        arrival["text"],
        privacy=privacy,
        label=label,
        before=before,
        allowed=allowed,
        tokens=arrival.get("tokens"),
    )


def _outcome(end: dict[str, Any]) -> Outcome:
    if "accepted" in end:
        return Verification(end["accepted"], end["next"], end["prompt_tokens"])
    logprobs = end.get("logprobs")
    summary = LogProbabilities(**logprobs) if logprobs else None
    written = end["text"], end["prompt_tokens"], end["tokens"], end["stopped"]
    return Completion(*written, summary, model=end.get("model", ""))


def _said_instead(outcome: Outcome | JobError, text: str) -> Outcome | JobError:
    return replace(outcome, text=text) if isinstance(outcome, Completion) else outcome


def _events(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.endswith("\n"))  # a kill may have cut off the last one
