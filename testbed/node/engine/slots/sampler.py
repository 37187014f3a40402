"""How tokens are drawn from logits: llama.cpp's own samplers with its defaults, and grammars."""

import ctypes
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from llama_cpp import llama_cpp as api

from testbed.node.engine.likelihood import log_probability, most_likely
from testbed.node.engine.slots.weights import Logits
from testbed.patterns.participant import JobError

_TOP_K: Final = 40  # llama.cpp's defaults, and its order
_TYPICAL_P: Final = 1.0
_MIN_P: Final = 0.05

RANDOM_SEED: Final = 2**32 - 1
"""llama.cpp's LLAMA_DEFAULT_SEED, which it replaces by another seed each time. Seeds are below it."""

_LARGEST_GRAMMAR: Final = 2**16  # bytes
_SLOWEST: Final = 2.0  # CPU seconds of one token: a grammar that many ways lead through takes ever longer
_CANDIDATE: Final = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


@dataclass(frozen=True)
class Drawn:
    """A token, the natural logarithm of its probability, and the most likely tokens at its place with theirs."""

    token: int
    logprob: float
    alternatives: tuple[tuple[int, float], ...] = ()


class Sampler:
    """Draws the tokens of one answer."""

    def __init__(
        self,
        vocabulary: Any,
        temperature: float,
        top_p: float,
        seed: int,
        alternatives: int,
        grammar: str | None,
        never: Sequence[int] = (),
    ) -> None:
        """``alternatives`` are told beside each token; ``grammar`` is GBNF; ``never`` are tokens that are not drawn.

        Raises JobError.
        """
        if not 0 <= seed < RANDOM_SEED:
            raise JobError(f"the seed must be from 0 to {RANDOM_SEED - 1}, not {seed}")
        self._alternatives = alternatives
        self._never = np.array(never, np.intp)
        self._grammar = None if grammar is None else _Grammar(vocabulary, grammar)
        self._chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        for sampler in _chained(temperature, top_p, seed):
            api.llama_sampler_chain_add(self._chain, sampler)

    def draw(self, logits: Logits) -> Drawn:
        """The next token; raises JobError if the grammar allows none."""
        masked = self._grammar is not None or len(self._never) > 0
        raw = logits.values.copy() if masked else logits.values
        logits.values[self._never] = -np.inf
        if self._grammar is not None:
            self._grammar.mask(logits)
        token: int = api.llama_sampler_sample(self._chain, logits.context, logits.row)
        if self._grammar is not None:
            self._grammar.accept(token)
        return self._drawn(token, raw)

    def close(self) -> None:
        """Give the memory back."""
        api.llama_sampler_free(self._chain)
        if self._grammar is not None:
            self._grammar.close()

    def _drawn(self, token: int, values: Any) -> Drawn:
        return Drawn(token, log_probability(values, token), tuple(most_likely(values, self._alternatives)))


class _Grammar:
    """What an answer may be, and how much of it has been written."""

    def __init__(self, vocabulary: Any, text: str) -> None:
        written = text.encode()
        if len(written) > _LARGEST_GRAMMAR:
            raise JobError(f"the grammar has {len(written)} bytes; {_LARGEST_GRAMMAR} are allowed")
        self._sampler = api.llama_sampler_init_grammar(vocabulary, written, b"root")
        if not self._sampler:
            raise JobError("the grammar does not parse; it must be GBNF with a rule called root")
        self._candidates = np.zeros(api.llama_vocab_n_tokens(vocabulary), _CANDIDATE)

    def mask(self, logits: Logits) -> None:
        """Make the logits of all tokens that may not follow -∞; raises JobError if none may, or none is found soon."""
        self._candidates["id"] = np.arange(len(self._candidates))
        self._candidates["logit"] = logits.values
        array = api.llama_token_data_array(
            data=self._candidates.ctypes.data_as(api.llama_token_data_p),
            size=len(self._candidates),
            selected=-1,
            sorted=False,
        )
        begin = time.thread_time()
        api.llama_sampler_apply(self._sampler, ctypes.byref(array))
        if (seconds := time.thread_time() - begin) > _SLOWEST:
            raise JobError(f"the grammar takes {seconds:.1f} s for a token; {_SLOWEST:g} s are allowed")
        logits.values[self._candidates["id"]] = self._candidates["logit"]
        if not np.isfinite(logits.values).any():
            raise JobError("the grammar wants text that no token of the model can continue")

    def accept(self, token: int) -> None:
        """``token`` was drawn."""
        api.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        """Give the memory back."""
        api.llama_sampler_free(self._sampler)


def _chained(temperature: float, top_p: float, seed: int) -> Iterator[Any]:
    if temperature == 0:
        yield api.llama_sampler_init_greedy()
        return
    yield api.llama_sampler_init_top_k(_TOP_K)
    yield api.llama_sampler_init_typical(_TYPICAL_P, 1)
    yield api.llama_sampler_init_top_p(top_p, 1)
    yield api.llama_sampler_init_min_p(_MIN_P, 1)
    yield api.llama_sampler_init_temp(temperature)
    yield api.llama_sampler_init_dist(seed)
