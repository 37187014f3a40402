"""The fault `swap`: a node answers with another model than the topology says.

The other models are in memory from the node's start, so that the fault begins with the next answer.
"""

from collections.abc import Callable, Mapping, Sequence

from testbed.node.character.traits import AnyTrait, Swapping
from testbed.node.engine.model import LanguageModel, OnText, Sampling
from testbed.patterns.participant import ChatMessage, Completion, Verification


class SwappedModel:
    """The node's ``own`` model, or the one of ``others`` that the last trait of this kind names."""

    def __init__(
        self, own: LanguageModel, others: Mapping[str, LanguageModel], traits: Callable[[], Sequence[AnyTrait]]
    ) -> None:
        self._own = own
        self._others = others
        self._traits = traits

    def complete(self, messages: Sequence[ChatMessage], sampling: Sampling, on_text: OnText) -> Completion:
        return self._current().complete(messages, sampling, on_text)

    def verify(self, messages: Sequence[ChatMessage], draft: Sequence[int], sampling: Sampling) -> Verification:
        return self._current().verify(messages, draft, sampling)

    def check(self, messages: Sequence[ChatMessage]) -> None:
        self._current().check(messages)

    def count(self, messages: Sequence[ChatMessage]) -> int:
        return self._current().count(messages)

    @property
    def vocabulary(self) -> str:
        return self._current().vocabulary

    def text_of(self, tokens: Sequence[int]) -> str:
        return self._current().text_of(tokens)

    def _current(self) -> LanguageModel:
        swaps = [trait.model for trait in self._traits() if isinstance(trait, Swapping)]
        return self._others[swaps[-1]] if swaps else self._own
