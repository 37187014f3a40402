"""Whether this checkout runs as fast as another one, and answers the same.

    sudo .venv/bin/python benchmarks/versions.py OTHER --out DIR

OTHER is the folder of a checkout that its own `./tb` has prepared. Both run the same scenarios with the same seeds,
in turn. `gossip_moa.yaml` is timed: the wall-clock time of `testbed run` here divided by that there, for each pair. The
answers are those of all prompts that both runs answered; a prompt counts as different if its text differs.
"""

import argparse
import json
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

from command import commit, run
from rundirs import PROJECT

_TIMED: Final = "gossip_moa"
_ANSWERED: Final = ("gossip_moa", "pipeline", "partition")


@dataclass(frozen=True)
class Pair:
    """Seconds that one run took here and there."""

    here: float
    there: float

    @property
    def ratio(self) -> float:
        """Here over there."""
        return self.here / self.there


@dataclass(frozen=True)
class Answers:
    """How many prompts of a scenario both checkouts answered, and those that they answered differently."""

    both: int
    different: list[str]


def play(checkout: Path, scenario: str, out: Path) -> float:
    """Seconds that a run of the checkout's scenario takes; raises CalledProcessError if it does not pass."""
    command = [".venv/bin/testbed", "run", f"scenarios/{scenario}.yaml", "--fidelity", "off", "--out", str(out)]
    begin = time.monotonic()
    subprocess.run(command, check=True, cwd=checkout, capture_output=True)
    return time.monotonic() - begin


def answers(directory: Path) -> dict[str, str]:
    """The answer to each prompt of a run that was answered."""
    events = map(json.loads, (directory / "events.jsonl").read_text().splitlines())
    return {event["prompt"]: event["text"] for event in events if event["event"] == "answer"}


def compare_answers(here: dict[str, str], there: dict[str, str]) -> Answers:
    """Hold the answers of two runs against each other."""
    both = sorted(here.keys() & there.keys())
    return Answers(len(both), [prompt for prompt in both if here[prompt] != there[prompt]])


def main() -> None:
    """Play, compare, print, and write ``versions.json``."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("other", type=Path, help="the folder of the other checkout")
    options.add_argument("--out", type=Path, required=True, help="the folder of the runs")
    options.add_argument("--pairs", type=int, default=5)
    asked = options.parse_args()
    out: Path = asked.out.absolute()
    checkouts = {"here": PROJECT, "there": asked.other.absolute()}
    out.mkdir(parents=True)

    pairs = []
    for number in range(asked.pairs):
        order = list(checkouts) if number % 2 else list(reversed(checkouts))
        seconds = {name: play(checkouts[name], _TIMED, out / f"{_TIMED}-{number}-{name}") for name in order}
        pairs.append(Pair(**seconds))
        print(f"{_TIMED}: {pairs[-1].here:.1f} s here, {pairs[-1].there:.1f} s there, ratio {pairs[-1].ratio:.3f}")
    found: dict[str, Answers] = {}
    for scenario in _ANSWERED:
        told = []
        for name, checkout in checkouts.items():
            directory = out / f"{scenario}-{name}"
            play(checkout, scenario, directory)
            told.append(answers(directory))
        found[scenario] = compare_answers(*told)
        print(
            f"{scenario}: {found[scenario].both} prompts answered by both, {len(found[scenario].different)} differently"
        )
    result = {
        "commit": commit(),
        "scenario": _TIMED,
        "pairs": [asdict(pair) | {"ratio": pair.ratio} for pair in pairs],
        "median_ratio": median(pair.ratio for pair in pairs),
        "answers": {scenario: asdict(answered) for scenario, answered in found.items()},
    }
    (out / "versions.json").write_text(json.dumps(result, indent=2))
    print(f"median ratio {result['median_ratio']:.3f}")


if __name__ == "__main__":
    run(main)
