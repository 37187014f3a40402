"""What a node did before it was started again.

Its trace is its journal: an event is on disk before anything comes of it, so what the trace says was accepted is known,
and what it says was done need not be done again. There is no second file that could say otherwise.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.node.engine.model import Completion
from testbed.patterns.participant import JobError, Prompt


@dataclass(frozen=True)
class Past:
    """Jobs and prompts that ended, with what came of each; and the prompts that were accepted and did not end."""

    began: bool = False
    jobs: dict[str, Completion | JobError] = field(default_factory=dict)
    prompts: dict[str, str | JobError] = field(default_factory=dict)
    unfinished: tuple[Prompt, ...] = ()


def recall(trace: Path) -> Past:
    """What a trace tells of the node that wrote it; nothing if there is none.

    Only jobs that serve a prompt are recalled: other clients' requests need not have a name of their own.
    """
    accepted: dict[str, Prompt] = {}
    of_prompts: set[str] = set()
    jobs: dict[str, Completion | JobError] = {}
    prompts: dict[str, str | JobError] = {}
    began = False
    for event in _events(trace):
        began = True
        match event:
            case {"event": "arrival", "prompt": prompt, "text": text}:
                accepted[prompt] = Prompt(prompt, text)
            case {"event": "answer", "prompt": prompt, "text": text}:
                prompts[prompt] = text
            case {"event": "failed", "prompt": prompt, "reason": reason}:
                prompts[prompt] = JobError(reason)
            case {"event": "enqueue", "job": job, "prompt": _}:
                of_prompts.add(job)
            case {"event": "end", "job": job} if job in of_prompts:
                jobs[job] = Completion(event["text"], event["prompt_tokens"], event["tokens"], event["stopped"])
            case {"event": "job_failed", "job": job, "reason": reason} if job in of_prompts:
                jobs[job] = JobError(reason)
    unfinished = tuple(prompt for name, prompt in accepted.items() if name not in prompts)
    return Past(began, jobs, prompts, unfinished)


def _events(trace: Path) -> Iterator[dict[str, Any]]:
    if not trace.exists():
        return
    with trace.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
