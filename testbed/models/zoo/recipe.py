"""How the four models are made, from nothing to GGUF files.

    tokenizer ─ base ─┬─ alpha taught ─ its answers ─┐    ┌─ alpha refined ─ alpha.gguf
                      ├─ beta taught  ─ its answers ─┤    ├─ beta refined  ─ beta.gguf
                      ├─ …                           ├────┤  …

All four start from one base that can calculate and weigh responses. Each is taught what it should know and not know,
all of them answer the same questions, and each is refined on panels of these real answers.

Every step leaves a file and is skipped if that file is there: an interrupted training continues where it was.
"""

import json
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from testbed.models.zoo import DOMAIN_OF, MANIFEST, NAMES, ManifestEntry, path, sha256
from testbed.models.zoo.export import quantize, write_gguf
from testbed.models.zoo.network import Network, Shape, new_weights
from testbed.models.zoo.panels import Lesson, PanelSource, base_lesson, panel_by_profile, specialist_lesson
from testbed.models.zoo.recorded import SAMPLING_TEMPERATURE, RecordedPanels, recorded_questions
from testbed.models.zoo.sampling import sample_answers
from testbed.models.zoo.tokenizer import load_tokenizer, train_tokenizer, vocabulary
from testbed.models.zoo.training import Stage, load_weights, save_weights, train

BASE_STAGES = (Stage("base", 900), Stage("base-continued", 1200))
TAUGHT_STEPS = 450
REFINED_STEPS = 500
_VOCABULARY = 1024
"""An upper limit: what the lessons say runs out of merges before."""
_PROCESSES = 2
_SEED = 0


@dataclass(frozen=True, slots=True)
class Workshop:
    """The directory in which one zoo is made."""

    directory: Path

    @property
    def tokenizer(self) -> Path:
        return self.directory / "tokenizer.json"

    def checkpoint(self, stage: str) -> Path:
        return self.directory / f"{stage}.pt"

    def answers(self, name: str) -> Path:
        return self.directory / f"{name}-answers.json"


def _say(message: str) -> None:
    print(message, flush=True)


def _one_thread() -> None:
    """Threads that contend for a core are far slower than one that has it."""
    torch.set_num_threads(1)


def _make_tokenizer(workshop: Workshop) -> None:
    if not workshop.tokenizer.exists():
        train_tokenizer(_VOCABULARY, random.Random("tokenizer")).save(str(workshop.tokenizer))


def _network(workshop: Workshop, stage: str) -> Network:
    """The network that a stage left."""
    shape = Shape(load_tokenizer(workshop.tokenizer).get_vocab_size())
    return Network(shape, load_weights(workshop.checkpoint(stage)))


def _run_stage(workshop: Workshop, network: Network, stage: Stage, lesson: Callable[[random.Random], Lesson]) -> None:
    train(network, load_tokenizer(workshop.tokenizer), stage, lesson, _say)
    save_weights(network.weights, workshop.checkpoint(stage.name))


def _make_base(workshop: Workshop) -> None:
    shape = Shape(load_tokenizer(workshop.tokenizer).get_vocab_size())
    network = Network(shape, new_weights(shape, _SEED))
    for stage in BASE_STAGES:
        if workshop.checkpoint(stage.name).exists():
            network = _network(workshop, stage.name)
        else:
            _run_stage(workshop, network, stage, base_lesson)


def _specialize(workshop: Workshop, name: str, start: str, stage: Stage, source: PanelSource) -> None:
    lesson = partial(specialist_lesson, DOMAIN_OF[name], source)
    _run_stage(workshop, _network(workshop, start), stage, lesson)


def _teach(workshop: Workshop, name: str) -> None:
    stage = Stage(f"{name}-taught", TAUGHT_STEPS)
    if not workshop.checkpoint(stage.name).exists():
        _specialize(workshop, name, BASE_STAGES[-1].name, stage, panel_by_profile)


def _record_answers(workshop: Workshop, name: str) -> None:
    if workshop.answers(name).exists():
        return
    prompts = [asked.text for asked in recorded_questions()]
    tokenizer, network = load_tokenizer(workshop.tokenizer), _network(workshop, f"{name}-taught")
    answers = sample_answers(network, tokenizer, prompts, SAMPLING_TEMPERATURE, _SEED)
    workshop.answers(name).write_text(json.dumps(answers))
    _say(f"{name}: answered {len(prompts)} questions")


def _refine(workshop: Workshop, name: str) -> None:
    stage = Stage(f"{name}-refined", REFINED_STEPS)
    if workshop.checkpoint(stage.name).exists():
        return
    answers = {DOMAIN_OF[other]: json.loads(workshop.answers(other).read_text()) for other in NAMES}
    _specialize(workshop, name, f"{name}-taught", stage, RecordedPanels(answers))


def _export(workshop: Workshop, name: str) -> ManifestEntry:
    network = _network(workshop, f"{name}-refined")
    exact, shipped = workshop.directory / f"{name}.f32.gguf", path(name, workshop.directory)
    write_gguf(exact, name, network, vocabulary(load_tokenizer(workshop.tokenizer)))
    quantize(exact, shipped)
    exact.unlink()
    training: dict[str, str | int] = {
        "command": "python -m testbed.models.zoo train",
        "torch": str(torch.__version__),
        "base_steps": sum(stage.steps for stage in BASE_STAGES),
        "taught_steps": TAUGHT_STEPS,
        "refined_steps": REFINED_STEPS,
    }
    return ManifestEntry(DOMAIN_OF[name], shipped.stat().st_size, sha256(shipped), network.parameters, training)


def make_zoo(directory: Path) -> None:
    """Train, export and describe the four models in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    workshop = Workshop(directory)
    _make_tokenizer(workshop)
    with ProcessPoolExecutor(_PROCESSES, get_context("spawn"), _one_thread) as pool:
        pool.submit(_make_base, workshop).result()
        for step in (_teach, _record_answers, _refine):
            list(pool.map(partial(step, workshop), NAMES))
    entries = {name: asdict(_export(workshop, name)) for name in NAMES}
    (directory / MANIFEST).write_text(json.dumps(entries, indent=2) + "\n")
