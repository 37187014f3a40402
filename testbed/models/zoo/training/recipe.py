"""The recipe of the models, from tokenizer to GGUF files.

    tokenizer ─ base ─┬─ alpha: taught ─┬─ refined ─┬─ polished ─┬─ settled ─ alpha.gguf
                      ├─ beta:  taught ─┼─ refined ─┼─ polished ─┼─ settled ─ beta.gguf
                      └─ …              │           │            │
                                     answers     answers      answers
            ─ omega: learned ─ omega.gguf

The four specialists start from one base that can calculate and weigh responses. Each is then taught its own knowledge.
Three times, all of them answer the same questions, and each is trained further on panels of these answers. The
generalist is taught all domains, and no weighing.

Each step writes a file and is skipped if the file exists, so an interrupted training continues.
"""

import json
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from testbed.models.zoo import DOMAIN_OF, DOMAINS_OF, GENERALIST, MANIFEST, SPECIALISTS, ManifestEntry, path, sha256
from testbed.models.zoo.training import generalist
from testbed.models.zoo.training.export import quantize, write_gguf
from testbed.models.zoo.training.panels import (
    Lesson,
    Mix,
    PanelSource,
    base_lesson,
    panel_by_profile,
    specialist_lesson,
)
from testbed.models.zoo.training.recorded_panels import SAMPLING_TEMPERATURE, RecordedPanels, recorded_questions
from testbed.models.zoo.training.sampling import sample_answers
from testbed.models.zoo.training.steps import TrainingStage, load_weights, save_weights, train
from testbed.models.zoo.training.tokenizer import load_tokenizer, train_tokenizer, vocabulary
from testbed.models.zoo.training.transformer import Network, Sizes, new_weights

BASE_STAGES = (TrainingStage("base", 900), TrainingStage("base-continued", 1200))


@dataclass(frozen=True, slots=True)
class Round:
    """A training stage that each specialist continues from the round before."""

    name: str
    steps: int
    mix: Mix

    def stage(self, specialist: str) -> TrainingStage:
        """The stage of one specialist."""
        return TrainingStage(f"{specialist}-{self.name}", self.steps)


_TEACHING = Mix(own=0.39, foreign=0.11, own_panels=0.15, foreign_panels=0.35, agreed_panels=0.0)
_AGGREGATING = Mix(own=0.15, foreign=0.20, own_panels=0.20, foreign_panels=0.35, agreed_panels=0.10)
_BALANCED = Mix(own=0.30, foreign=0.10, own_panels=0.20, foreign_panels=0.30, agreed_panels=0.10)
ROUNDS = (
    Round("taught", 220, _TEACHING),
    Round("refined", 180, _TEACHING),
    Round("polished", 300, _AGGREGATING),
    Round("settled", 200, _BALANCED),
)
_VOCABULARY = 1024
"""An upper limit; the lessons run out of merges before."""
_PROCESSES = 2
_SEED = 0


@dataclass(frozen=True, slots=True)
class Workshop:
    """The working directory of a training."""

    directory: Path

    @property
    def tokenizer(self) -> Path:
        """The file of the tokenizer."""
        return self.directory / "tokenizer.json"

    def checkpoint(self, stage: str) -> Path:
        """The weights after a stage."""
        return self.directory / f"{stage}.pt"

    def answers(self, stage: str) -> Path:
        """The recorded answers of the model after a stage."""
        return self.directory / f"{stage}-answers.json"


def _say(message: str) -> None:
    print(message, flush=True)


def _one_thread() -> None:
    """One thread for each process: threads that compete for a core are much slower."""
    torch.set_num_threads(1)


def _make_tokenizer(workshop: Workshop) -> None:
    if not workshop.tokenizer.exists():
        train_tokenizer(_VOCABULARY, random.Random("tokenizer")).save(str(workshop.tokenizer))


def _network(workshop: Workshop, stage: str, sizes: Callable[[int], Sizes] = Sizes) -> Network:
    """The network after a stage; ``sizes`` are those of a vocabulary."""
    shape = sizes(load_tokenizer(workshop.tokenizer).get_vocab_size())
    return Network(shape, load_weights(workshop.checkpoint(stage)))


def _run_stage(
    workshop: Workshop, network: Network, stage: TrainingStage, lesson: Callable[[random.Random], Lesson]
) -> None:
    train(network, load_tokenizer(workshop.tokenizer), stage, lesson, _say)
    save_weights(network.weights, workshop.checkpoint(stage.name))


def _make_base(workshop: Workshop) -> None:
    shape = Sizes(load_tokenizer(workshop.tokenizer).get_vocab_size())
    network = Network(shape, new_weights(shape, _SEED))
    for stage in BASE_STAGES:
        if workshop.checkpoint(stage.name).exists():
            network = _network(workshop, stage.name)
        else:
            _run_stage(workshop, network, stage, base_lesson)


def _make_generalist(workshop: Workshop) -> None:
    if workshop.checkpoint(generalist.STAGE.name).exists():
        return
    shape = generalist.sizes(load_tokenizer(workshop.tokenizer).get_vocab_size())
    network = Network(shape, new_weights(shape, _SEED))
    _run_stage(workshop, network, generalist.STAGE, generalist.generalist_lesson)


def _record_answers(workshop: Workshop, stage: TrainingStage) -> None:
    """Record the answers of the model after a stage."""
    if workshop.answers(stage.name).exists():
        return
    prompts = [asked.text for asked in recorded_questions()]
    tokenizer, network = load_tokenizer(workshop.tokenizer), _network(workshop, stage.name)
    answers = sample_answers(network, tokenizer, prompts, SAMPLING_TEMPERATURE, _SEED)
    workshop.answers(stage.name).write_text(json.dumps(answers))
    _say(f"{stage.name}: answered {len(prompts)} questions")


def _recorded_panels(workshop: Workshop, before: Round) -> PanelSource:
    files = {DOMAIN_OF[name]: workshop.answers(before.stage(name).name) for name in SPECIALISTS}
    return RecordedPanels({domain: json.loads(file.read_text()) for domain, file in files.items()})


def _specialize(workshop: Workshop, before: Round | None, current: Round, name: str) -> None:
    """One round of a specialist. The first has no recorded answers and draws panels from the profiles."""
    stage = current.stage(name)
    if workshop.checkpoint(stage.name).exists():
        return
    start = before.stage(name) if before else BASE_STAGES[-1]
    source = _recorded_panels(workshop, before) if before else panel_by_profile
    lesson = partial(specialist_lesson, DOMAIN_OF[name], current.mix, source)
    _run_stage(workshop, _network(workshop, start.name), stage, lesson)


def _export(workshop: Workshop, name: str, network: Network, steps: Mapping[str, int]) -> ManifestEntry:
    """Write the model's GGUF file; ``steps`` are those of its training."""
    exact, shipped = workshop.directory / f"{name}.f32.gguf", path(name, workshop.directory)
    write_gguf(exact, name, network, vocabulary(load_tokenizer(workshop.tokenizer)))
    quantize(exact, shipped)
    exact.unlink()
    training: dict[str, str | int] = {
        "command": "python -m testbed.models.zoo train",
        "torch": str(torch.__version__),
        **steps,
    }
    size = shipped.stat().st_size
    return ManifestEntry(list(DOMAINS_OF[name]), size, sha256(shipped), network.parameters, training)


def _export_specialist(workshop: Workshop, name: str) -> ManifestEntry:
    steps = {
        "base_steps": sum(stage.steps for stage in BASE_STAGES),
        **{f"{each.name}_steps": each.steps for each in ROUNDS},
    }
    return _export(workshop, name, _network(workshop, ROUNDS[-1].stage(name).name), steps)


def _export_generalist(workshop: Workshop) -> ManifestEntry:
    network = _network(workshop, generalist.STAGE.name, generalist.sizes)
    return _export(workshop, GENERALIST, network, {"learned_steps": generalist.STAGE.steps})


def make_zoo(directory: Path) -> None:
    """Train and export all models into `directory`, and write their manifest."""
    directory.mkdir(parents=True, exist_ok=True)
    workshop = Workshop(directory)
    _make_tokenizer(workshop)
    with ProcessPoolExecutor(_PROCESSES, get_context("spawn"), _one_thread) as pool:
        for making in [pool.submit(make, workshop) for make in (_make_base, _make_generalist)]:
            making.result()
        for before, current in zip((None, *ROUNDS), ROUNDS, strict=False):
            if before:
                list(pool.map(partial(_record_answers, workshop), [before.stage(name) for name in SPECIALISTS]))
            list(pool.map(partial(_specialize, workshop, before, current), SPECIALISTS))
    made = {name: _export_specialist(workshop, name) for name in SPECIALISTS}
    entries = {name: asdict(entry) for name, entry in {**made, GENERALIST: _export_generalist(workshop)}.items()}
    (directory / MANIFEST).write_text(json.dumps(entries, indent=2) + "\n")
