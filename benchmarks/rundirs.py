"""Plays and reads the runs of benchmarks."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).parents[1]


def played(scenario: dict[str, Any], out: Path, *options: str) -> Path:
    """The directory of a run of ``scenario`` under ``out``, played with ``options`` unless it exists."""
    directory: Path = (out / scenario["name"]).absolute()
    if not directory.exists():
        out.mkdir(parents=True, exist_ok=True)
        file = directory.with_name(f"{directory.name}.yaml")
        file.write_text(json.dumps(scenario, indent=2))  # JSON is YAML
        command = [sys.executable, "-m", "testbed", "run", str(file), "--out", str(directory), *options]
        subprocess.run(command, check=True, cwd=PROJECT)
    return directory


def assigned(settings: Iterable[str]) -> list[str]:
    """The options of a verb for ``settings``, keys of a scenario like ``key=value``."""
    return [part for setting in settings for part in ("--set", setting)]


def summary(directory: Path) -> dict[str, Any]:
    """The content of a run's ``summary.json``."""
    found: dict[str, Any] = json.loads((directory / "summary.json").read_text())
    return found
