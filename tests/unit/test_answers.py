"""What can be asked of a real model's answer: its text as it grows, a stop, a grammar, log-probabilities."""

import json
from typing import Any

import numpy as np
import pytest
from llama_cpp import Llama
from rings import CONTEXT, whole

from testbed.models import zoo
from testbed.node.engine.model import ChatModel, Sampling
from testbed.node.openai.formats import ChoicesFormat, JsonFormat, Schema
from testbed.patterns.participant import ChatMessage, PlainText

PATH = zoo.path("alpha")
CHAT: list[ChatMessage] = [{"role": "user", "content": "Name the capital city of Mupuland."}]
PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "size": {"enum": ["small", "large"]}},
    "required": ["city", "size"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model() -> ChatModel:
    return ChatModel(PATH, CONTEXT, threads=1)


def _ask(model: ChatModel, **options: Any) -> tuple[Any, list[str]]:
    told: list[str] = []
    sampling = Sampling(**{"temperature": 0.9, "max_tokens": 24, "seed": 1, **options})
    return model.complete(CHAT, sampling, told.append), told


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_of_an_answer_are_the_answer(model: ChatModel, seed: int) -> None:
    completion, told = _ask(model, seed=seed)
    assert "".join(told) == completion.text
    assert len(told) == completion.tokens + completion.stopped


def test_an_answer_ends_before_a_stop(model: ChatModel) -> None:
    plain, _ = _ask(model, temperature=0.0)
    stop = plain.text[len(plain.text) // 2 :][:3]
    completion, told = _ask(model, temperature=0.0, stop=("nowhere", stop))
    assert completion.text == "".join(told) == plain.text[: plain.text.index(stop)].strip()
    assert completion.stopped
    assert completion.tokens <= plain.tokens


@pytest.mark.parametrize("seed", range(5))
def test_a_schema_holds_an_answer(model: ChatModel, seed: int) -> None:
    grammar = Schema.model_validate({"name": "place", "schema": PLACE}).grammar
    completion, _ = _ask(model, seed=seed, grammar=grammar, max_tokens=200)
    answer = json.loads(completion.text)
    assert answer.keys() == {"city", "size"}
    assert len(answer["city"]) <= 8
    assert answer["size"] in ("small", "large")


def test_an_answer_can_be_any_json_object(model: ChatModel) -> None:
    completion, _ = _ask(model, grammar=JsonFormat(type="json_object").grammar, max_tokens=200)
    assert isinstance(json.loads(completion.text), dict)


@pytest.mark.parametrize("seed", range(5))
def test_an_answer_is_one_of_the_choices(model: ChatModel, seed: int) -> None:
    choices = ["A", 'say "B"', "Ç"]
    completion, _ = _ask(model, seed=seed, grammar=ChoicesFormat(type="choices", choices=choices).grammar)
    assert (completion.text in choices, completion.stopped) == (True, True)


def test_log_probabilities_are_those_of_the_models_own_logits(model: ChatModel) -> None:
    completion, _ = _ask(model, temperature=0.0, top_logprobs=3)
    logits = whole(PATH, model._chat.tokenize(CHAT), completion.tokens)
    for row, token, told in zip(logits, completion.token_ids, completion.token_logprobs, strict=True):
        powers = np.exp(row.astype(np.float64) - row.max())
        expected = np.log(powers / powers.sum())
        assert told.logprob == pytest.approx(expected[token], abs=1e-3)
        likely = np.argsort(-row)[:3]
        assert [piece for piece, _ in told.alternatives] == [model._chat.piece(int(other)) for other in likely]
        assert [value for _, value in told.alternatives] == pytest.approx(expected[likely], abs=1e-3)
    assert b"".join(told.token for told in completion.token_logprobs).decode().strip() == completion.text


def test_a_text_is_continued_without_a_template(model: ChatModel) -> None:
    text = "<|user|>Name the capital"
    completion = model.complete(PlainText.of(text), Sampling(0.0, 4, seed=0), lambda _: None)
    vocabulary = Llama(str(PATH), vocab_only=True, verbose=False)
    assert completion.prompt_tokens == len(vocabulary.tokenize(text.encode(), add_bos=False, special=False))
