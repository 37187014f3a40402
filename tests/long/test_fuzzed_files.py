"""Whatever a scenario or topology file becomes, reading it gives a value or a :class:`SpecError`, and ends."""

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import pytest
from fuzzing import mutated

from testbed.core.errors import SpecError
from testbed.models.holdings import model_mistakes
from testbed.schema.scenario import load_scenario
from testbed.topologies import source

PROJECT = Path(__file__).parents[2]
SCENARIOS = sorted((PROJECT / "scenarios").rglob("*.yaml"))
TOPOLOGIES = sorted(path for path in (PROJECT / "topologies").iterdir() if path.is_file())
CORPUS = [path.read_text() for path in (*SCENARIOS, *TOPOLOGIES)]

NODE = {".graphml": "model=zoo/alpha,cpus=0.1,memory=64MiB"}
"""What a node of a file is that does not say so itself, by the file's suffix."""

MUTANTS = 500  # of each file
MOST_SECONDS = 60  # for one of them; on an idle host it takes a hundredth of a second


@contextmanager
def _bounded() -> Iterator[None]:
    def give_up(_: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"still reading after {MOST_SECONDS} s, at {frame}")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _fuzz(original: Path, mutant: Path, read: Callable[[Path], object]) -> None:
    """Read many mutants of a file. One that breaks the reader is shown with what it did."""
    text = original.read_text()
    for number in range(MUTANTS):
        mutant.write_bytes(mutated(text, CORPUS, random.Random(f"{original.name} {number}")).encode(errors="replace"))
        try:
            with _bounded(), suppress(SpecError):
                read(mutant)
        except Exception as error:
            raise AssertionError(f"mutant {number} of {original}:\n{mutant.read_bytes()!r}") from error


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_no_mutant_of_a_scenario_breaks_what_reads_it(path: Path, tmp_path: Path) -> None:
    (tmp_path / "topologies").symlink_to(PROJECT / "topologies")
    folder = tmp_path / path.parent.relative_to(PROJECT)
    folder.mkdir(parents=True)
    _fuzz(path, folder / path.name, lambda mutant: load_scenario(mutant, (), model_mistakes))


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_no_mutant_of_a_topology_breaks_what_reads_it(path: Path, tmp_path: Path) -> None:
    _fuzz(path, tmp_path / path.name, lambda mutant: source.load(str(mutant), NODE.get(path.suffix, ""), None))
