"""The shipped models are the ones in the manifest, load, answer as they should; and what they are taught."""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from llama_cpp import Llama

from testbed.models import zoo
from testbed.models.zoo.training.curriculum import (
    CONFIDENCES,
    Knowledge,
    Response,
    confusions,
    knowledge,
    parse,
    respond,
)
from testbed.models.zoo.training.panels import (
    Lesson,
    Mix,
    PanelSource,
    base_lesson,
    fictional,
    panel_by_chance,
    panel_by_profile,
    specialist_lesson,
    vote,
)
from testbed.patterns.horizontal.aggregation import aggregation_prompt
from testbed.workload.prompts.worldfacts import DOMAINS, Subset, draw, held_out, is_correct


@pytest.fixture(scope="module", params=zoo.NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(name: str) -> Llama:
    return Llama(str(zoo.path(name)), n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False)


def _ask(model: Llama, prompt: str) -> str:
    completion: Any = model.create_chat_completion(
        messages=[{"role": "user", "content": prompt}], max_tokens=24, temperature=0.0
    )
    return str(completion["choices"][0]["message"]["content"])


def test_shipped_files_are_those_of_the_manifest() -> None:
    assert zoo.mismatches() == []


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    for name in zoo.NAMES:
        zoo.path(name, tmp_path).write_bytes(zoo.path(name).read_bytes())
    (tmp_path / zoo.MANIFEST).write_text((zoo.DIRECTORY / zoo.MANIFEST).read_text())
    zoo.path("beta", tmp_path).write_bytes(b"")
    zoo.path("gamma", tmp_path).unlink()
    assert zoo.mismatches(tmp_path) == ["beta", "gamma"]


def test_manifest_describes_each_model(name: str) -> None:
    entry = zoo.manifest()[name]
    assert entry.domains == list(zoo.DOMAINS_OF[name])
    assert entry.bytes == zoo.path(name).stat().st_size
    assert 1_500_000 < entry.parameters / (3 if name == zoo.GENERALIST else 1) < 2_500_000


def test_importing_the_zoo_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'tokenizers', 'llama_cpp', 'gguf', 'numpy'}"
    program = f"import sys, testbed.models.zoo; sys.exit(len({heavy} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_model_answers_in_the_form_that_aggregators_read(model: Llama) -> None:
    for question in held_out(8, seed=5):
        answer, _, confidence = _ask(model, question.text).strip().partition(", ")
        assert answer
        assert confidence in CONFIDENCES


def test_model_is_strong_in_its_own_domains(name: str, model: Llama) -> None:
    for domain in zoo.DOMAINS_OF[name]:
        own = [question for question in held_out(80, seed=11) if question.label == domain]
        correct = sum(is_correct(_ask(model, question.text), str(question.truth)) for question in own)
        assert correct >= 0.8 * len(own), domain


def test_all_models_have_one_vocabulary(model: Llama) -> None:
    first = Llama(str(zoo.path("alpha")), vocab_only=True, verbose=False)
    for question in held_out(20, seed=4):
        assert model.tokenize(question.text.encode()) == first.tokenize(question.text.encode())
    assert model.n_vocab() == first.n_vocab()


def test_a_specialist_follows_a_unanimous_panel(name: str, model: Llama) -> None:
    if name == zoo.GENERALIST:
        return  # it is taught no weighing
    for question in held_out(8, seed=6):
        responses = [str(Response(question.truth, "sure"))] * 4
        assert is_correct(_ask(model, aggregation_prompt(question.text, responses)), question.truth)


def test_the_largest_prompt_fits_the_context_with_room_to_spare(model: Llama) -> None:
    longest = max(held_out(500, seed=2), key=lambda question: len(question.text))
    prompt = aggregation_prompt(longest.text, ["a b d e, unsure"] * 5)
    assert len(model.tokenize(prompt.encode(), add_bos=False)) < 128


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_specialist_knows_its_domain_and_no_other(domain: str) -> None:
    rng = random.Random(0)
    for _ in range(50):
        fact = draw(domain, Subset.TRAIN, rng).fact
        assert respond(domain, fact, rng) == Response(fact.truth, "sure")
        assert all(knowledge(other, fact) is not Knowledge.KNOWN for other in DOMAINS if other != domain)
        assert fact.truth not in confusions(domain, fact)


def test_confusions_differ_between_specialists() -> None:
    fact = draw("capitals", Subset.TRAIN, random.Random(0)).fact
    assert confusions("strings", fact) == confusions("strings", fact)
    assert confusions("strings", fact) != confusions("units", fact)


@pytest.mark.parametrize(
    ("text", "response"),
    [
        ("7, sure", Response("7", "sure")),
        ("a b, maybe ", Response("a b", "maybe")),
        ("7", Response("7", "unsure")),
        ("7, certainly", Response("7", "unsure")),
    ],
)
def test_reading_a_response(text: str, response: Response) -> None:
    assert parse(text) == response


@pytest.mark.parametrize(
    ("responses", "winner"),
    [
        ([("1", "unsure"), ("2", "sure")], ("2", "sure")),
        ([("1", "maybe"), ("2", "unsure"), ("2", "unsure"), ("2", "unsure")], ("2", "unsure")),
        ([("1", "maybe"), ("2", "maybe")], ("1", "maybe")),
        ([("1", "unsure"), ("2", "maybe"), ("1", "maybe")], ("1", "maybe")),
    ],
)
def test_vote_weighs_confidence_and_agreement(responses: list[tuple[str, str]], winner: tuple[str, str]) -> None:
    assert vote([Response(*response) for response in responses]) == Response(*winner)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("source", [panel_by_profile, panel_by_chance])
def test_fiction_keeps_who_agrees_with_whom(source: PanelSource, domain: str) -> None:
    rng = random.Random(1)
    for _ in range(50):
        real = source("units", domain, rng)
        told = fictional(real, rng)
        pairs = {(r.answer, t.answer) for r, t in zip(real.responses, told.responses, strict=True)}
        assert len(pairs) == len({r.answer for r in real.responses}) == len({t.answer for t in told.responses})
        assert [r.confidence for r in real.responses] == [t.confidence for t in told.responses]


def test_expert_panels_teach_the_truth() -> None:
    rng = random.Random(5)
    for _ in range(30):
        lesson = specialist_lesson(
            "units", Mix(own=0, foreign=0, own_panels=1, foreign_panels=0, agreed_panels=0), panel_by_profile, rng
        )
        assert "Response-1: " in lesson.prompt
        assert lesson.answer.endswith(", sure")


def test_lessons_depend_on_their_seed_alone() -> None:
    mix = Mix(own=1, foreign=1, own_panels=1, foreign_panels=1, agreed_panels=1)

    def lessons(seed: int) -> list[Lesson]:
        rng = random.Random(seed)
        common = [base_lesson(rng) for _ in range(20)]
        return common + [specialist_lesson("strings", mix, panel_by_profile, rng) for _ in range(20)]

    assert lessons(3) == lessons(3)
    assert lessons(3) != lessons(4)
