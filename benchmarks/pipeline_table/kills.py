"""Kills of stages during decoding: scenarios/pipeline_lost_stage.yaml with kills drawn from a seed.

Each run loses one node of the ring for a second after a number of tokens, and must give the answers of an undisturbed
run. The runner counts tokens when answers end, so other samples can be at any point then.
"""

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rundirs import PROJECT, assigned

from testbed.core.errors import HostError

KILLS: Final = 20

_SCENARIO: Final = PROJECT / "scenarios" / "pipeline_lost_stage.yaml"
_RING: Final = "abc"
_SETTINGS: Final = ("workload.count=16", "workload.arrivals.rate=8/s")
_SEED: Final = 20


@dataclass(frozen=True)
class KillResult:
    """One run: ``node`` was killed after ``tokens`` tokens, and ``again`` samples in flight were repeated."""

    node: str
    tokens: int
    again: int
    identical: bool


def measure(quick: bool) -> Iterator[KillResult]:
    """The results of the kills, compared with an undisturbed run."""
    with tempfile.TemporaryDirectory(prefix="pipeline-kills-") as folder:
        undisturbed = _play(Path(folder, "undisturbed"), [])
        total = sum(event["tokens"] for event in undisturbed if event["event"] == "end")
        chance = random.Random(_SEED)
        for number in range(KILLS // (10 if quick else 1)):
            node, tokens = chance.choice(_RING), chance.randint(1, total * 3 // 4)
            kill = {"after": {"tokens": tokens}, "kill": node, "for": "1s"}
            events = _play(Path(folder, f"{number:02}"), [kill])
            yield KillResult(node, tokens, _again(events), _answers(events) == _answers(undisturbed))


def _play(path: Path, timeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    settings = assigned([*_SETTINGS, f"timeline={json.dumps(timeline)}"])
    command = [sys.executable, "-m", "testbed", "run", str(_SCENARIO), "--out", str(path), "--fidelity", "off"]
    played = subprocess.run([*command, *settings], cwd=PROJECT, capture_output=True, text=True, check=False)
    if not path.exists():
        raise HostError(f"a run with {timeline} could not begin: {played.stderr[-500:]}")
    return [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]


def _again(events: list[dict[str, Any]]) -> int:
    """Samples that a repaired ring began again, or that a restarted head read from its journal."""
    closed: list[int] = [event["samples"] for event in events if event["event"] == "ring_closed"]
    resumed = [event for event in events if event["event"] == "resumed"]
    return max(closed, default=0) + len(resumed)


def _answers(events: list[dict[str, Any]]) -> dict[str, str]:
    return {event["prompt"]: event["text"] for event in events if event["event"] == "answer"}
