"""The byte-level BPE tokenizer that all four models share.

It is trained here and written into each GGUF, where llama.cpp runs it as its "gpt-2" tokenizer. Both must split a text
into the same tokens. Training separates digits, so no merge contains one and each digit of a number is a token.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from testbed.models.zoo.training.panels import base_lesson
from testbed.workload.prompts.worldfacts import CITIES, COUNTRIES, UNIT_PAIRS

PAD, USER, ASSISTANT, END = SPECIAL_TOKENS = ("<|pad|>", "<|user|>", "<|bot|>", "<|end|>")
PAD_ID, USER_ID, ASSISTANT_ID, END_ID = range(len(SPECIAL_TOKENS))

CHAT_TEMPLATE = (
    "{% for m in messages %}"
    "{% if m['role'] == 'assistant' %}<|bot|> {{ m['content'] }}<|end|>"
    "{% else %}<|user|>{{ m['content'] }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)
"""Every message that is not the assistant's becomes the user's: the models were trained without a system message."""

_LESSONS = 20_000
_REPEATS_OF_A_NAME = 300
"""Enough for every invented name to become a single token."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokenizer in a GGUF: tokens by id, and merges in order of priority."""

    tokens: list[str]
    merges: list[str]


def _bytes_pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _training_text(rng: random.Random) -> list[str]:
    lessons = [base_lesson(rng) for _ in range(_LESSONS)]
    names = [*COUNTRIES, *CITIES, *(name for large, small, _ in UNIT_PAIRS for name in (large, small))]
    text = [lesson.prompt for lesson in lessons] + [f" {lesson.answer}" for lesson in lessons]
    return text + [f" {name}" for name in names for _ in range(_REPEATS_OF_A_NAME)]


def train_tokenizer(size: int, rng: random.Random) -> Tokenizer:
    """A tokenizer of at most `size` tokens: 4 control tokens, 256 bytes, and merges."""
    tokenizer = Tokenizer(models.BPE())
    digits_apart = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits_apart, _bytes_pre_tokenizer()])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_text(rng), trainer)
    tokenizer.pre_tokenizer = _bytes_pre_tokenizer()  # as llama.cpp does it
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a file that `Tokenizer.save` wrote."""
    return Tokenizer.from_file(str(path))


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The token ids of a user message and the start of the assistant's, as in the chat template."""
    return [USER_ID, *tokenizer.encode(prompt).ids, END_ID, ASSISTANT_ID]


def encode_answer(tokenizer: Tokenizer, answer: str) -> list[int]:
    """The token ids of the assistant's message. The leading space makes a name the same token as inside a sentence."""
    return [*tokenizer.encode(f" {answer}").ids, END_ID]


def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """The tokens and merges of `tokenizer`."""
    by_id = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return Vocabulary([token for token, _ in by_id], [" ".join(pair) for pair in merges])
