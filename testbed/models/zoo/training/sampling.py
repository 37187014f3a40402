"""Samples answers of a network during training, for lessons made of real responses. Not optimized for speed."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from testbed.models.zoo.training.tokenizer import END_ID, encode_prompt
from testbed.models.zoo.training.transformer import Network

_LONGEST_ANSWER = 8
"""Tokens: four letters, a comma, a confidence, the end, and one to spare."""
_PROMPTS_AT_ONCE = 256


def _of_equal_length(encoded: Sequence[list[int]]) -> Iterator[list[int]]:
    """Indices of prompts of equal length, in batches."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, tokens in enumerate(encoded):
        by_length[len(tokens)].append(index)
    for indices in by_length.values():
        for start in range(0, len(indices), _PROMPTS_AT_ONCE):
            yield indices[start : start + _PROMPTS_AT_ONCE]


def _continued(network: Network, tokens: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """B×T tokens of the prompts → B×`_LONGEST_ANSWER` tokens that follow them."""
    prompt_length = tokens.shape[1]
    for _ in range(_LONGEST_ANSWER):
        logits = network.logits(network.states(tokens)[:, -1])
        drawn = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
        tokens = torch.cat((tokens, drawn), dim=1)
    return tokens[:, prompt_length:]


def _until_end(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(END_ID)] if END_ID in tokens else tokens


def sample_answers(
    network: Network, tokenizer: Tokenizer, prompts: Sequence[str], temperature: float, seed: int
) -> list[str]:
    """One answer to each prompt, sampled at `temperature`."""
    encoded = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    generator = torch.Generator().manual_seed(seed)
    answers = [""] * len(prompts)
    with torch.no_grad():
        for indices in _of_equal_length(encoded):
            tokens = torch.tensor([encoded[index] for index in indices])
            drawn = _continued(network, tokens, temperature, generator).tolist()
            for index, answer in zip(indices, drawn, strict=True):
                answers[index] = tokenizer.decode(_until_end(answer)).strip()
    return answers
