"""A real model's completions: how probable it took its tokens to be, and drafts that it verifies."""

from pathlib import Path

import numpy as np
import pytest
from rings import CONTEXT, whole

import testbed.models.zoo
from testbed.node.engine.likelihood import log_probability
from testbed.node.engine.model import ChatModel, ContextOverflowError, Sampling
from testbed.patterns.participant import ChatMessage, LogProbabilities

PATH = Path(testbed.models.zoo.__file__).parent / "alpha.gguf"
CHAT: list[ChatMessage] = [{"role": "user", "content": "Name the capital city of Mupuland."}]


@pytest.fixture(scope="module")
def chat_model() -> ChatModel:
    return ChatModel(PATH, CONTEXT, threads=1)


def test_a_log_probability_is_the_logarithm_of_the_softmax() -> None:
    logits = np.random.default_rng(1).normal(scale=20, size=1000).astype(np.float32)
    powers = np.exp(logits.astype(np.float64) - logits.max())
    for token in (0, 17, int(logits.argmax())):
        assert log_probability(logits, token) == pytest.approx(np.log(powers[token] / powers.sum()), abs=1e-4)


def test_a_completion_sums_up_the_probabilities_of_its_tokens(chat_model: ChatModel) -> None:
    completion = chat_model.complete(CHAT, Sampling(0.0, 24, seed=1), lambda _: None)
    prompt = chat_model._chat.tokenize(CHAT)
    logits = whole(PATH, prompt, completion.tokens)
    values = [log_probability(line, token) for line, token in zip(logits, completion.token_ids, strict=True)]
    expected = LogProbabilities.of(values)
    assert completion.logprobs is not None
    assert expected is not None
    assert completion.logprobs.sum == pytest.approx(expected.sum, abs=1e-4)
    assert completion.logprobs.first == pytest.approx(expected.first, abs=1e-4)
    assert completion.logprobs.least <= completion.logprobs.tenth_percentile <= completion.logprobs.mean <= 0


@pytest.mark.parametrize("temperature", [0.0, 1.5])
@pytest.mark.parametrize("seed", range(4))
def test_a_model_accepts_all_that_it_writes_itself(chat_model: ChatModel, temperature: float, seed: int) -> None:
    sampling = Sampling(temperature, 24, seed)
    completion = chat_model.complete(CHAT, sampling, lambda _: None)
    verification = chat_model.verify(CHAT, completion.token_ids, sampling)
    assert verification.accepted == completion.tokens
    assert (verification.next is None) == completion.stopped
    assert verification.prompt_tokens == completion.prompt_tokens


def test_a_model_accepts_a_draft_up_to_the_first_other_token_and_says_its_own(chat_model: ChatModel) -> None:
    sampling = Sampling(0.0, 24, seed=1)
    own = chat_model.complete(CHAT, sampling, lambda _: None).token_ids
    for place in range(len(own)):
        draft = [*own[:place], own[place] + 1, *own[place + 1 :]]
        verification = chat_model.verify(CHAT, draft, sampling)
        assert (verification.accepted, verification.next) == (place, own[place])


def test_a_draft_that_does_not_fit_the_context_is_refused(chat_model: ChatModel) -> None:
    with pytest.raises(ContextOverflowError):
        chat_model.verify(CHAT, [1] * CONTEXT, Sampling(0.0, 24, seed=1))


def test_models_that_number_tokens_alike_have_one_vocabulary(chat_model: ChatModel) -> None:
    """The zoo's models share a tokenizer."""
    assert chat_model.vocabulary == ChatModel(PATH.with_name("beta.gguf"), CONTEXT, threads=1).vocabulary
