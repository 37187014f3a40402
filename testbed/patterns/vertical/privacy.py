"""What may leave a tier, and in which words.

Masking follows PAAC (arXiv 2605.08646): a secret becomes a typed token before the text leaves, ``[EMAIL-1]``, so the
other model can speak of it, and the answer gets the secret back.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, Field

from testbed.core.spec import Spec
from testbed.patterns.base import Mistake
from testbed.patterns.participant import Peer, Prompt, Surroundings, Tier

KNOWN: Final[Mapping[str, str]] = {
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "phone": r"\+?\d[\d ()/-]{6,}\d",
    "address": r"\b\d{1,3}(?:\.\d{1,3}){3}\b",
}
"""Kinds of secrets that are looked for unless the scenario names others, and their patterns."""


def _compiled(pattern: str) -> str:
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    if found.fullmatch(""):
        raise ValueError(f"{pattern!r} matches the empty text")
    return pattern


class PrivacyOptions(Spec):
    """Prompts that stay in their tier, and secrets that do not leave it."""

    keep: str | None = Field(None, description="the label of prompts that never leave the tier of their owner")
    rewrite: Literal["mask"] | None = Field(None, description="mask: secrets leave the tier as typed tokens")
    secrets: dict[str, Annotated[str, AfterValidator(_compiled)]] = Field(
        default_factory=lambda: dict(KNOWN), description="regular expressions of secrets, by their kind"
    )

    def limit(self, prompt: Prompt, tier: Tier | None) -> Tier | None:
        """The farthest tier that may read ``prompt``, which is at a node of ``tier``; None if every tier may."""
        kept = Prompt("", "", privacy=tier if self.keep is not None and prompt.label == self.keep else None)
        return prompt.within(kept).privacy

    def mistakes(self, around: Surroundings, tiers: list[Tier | None]) -> Iterator[Mistake]:
        """What does not fit an owner with these ``tiers`` of stages; None is the owner's own."""
        if self.keep is None:
            return
        own = around.itself.tier
        if own is None:
            yield ("keep",), f"the topology says no `tier` of {around.itself.name!r}, so nothing can be kept in it"
        elif all(tier is not None and not reaches(own, tier) for tier in tiers):
            yield ("keep",), f"no stage is in the tier of {around.itself.name!r}, so its private prompts get no answer"


def reaches(limit: Tier | None, tier: Tier | None) -> bool:
    """Whether a node of ``tier`` may read what ``limit`` holds back. A node without a tier may read nothing limited."""
    if limit is None:
        return True
    order = get_args(Tier)
    return tier is not None and order.index(tier) <= order.index(limit)


class Masks:
    """The secrets of one prompt and the tokens that stand for them."""

    def __init__(self, options: PrivacyOptions) -> None:
        self._options = options
        self._tokens: dict[str, str] = {}  # by secret

    def hide(self, text: str) -> str:
        """``text`` with a typed token for each secret; equal secrets have one token."""
        for kind, pattern in self._options.secrets.items():
            text = re.sub(pattern, lambda found, kind=kind: self._token(kind, found[0]), text)  # type: ignore[misc]
        return text

    def restore(self, text: str) -> str:
        """``text`` with the secrets in place of their tokens."""
        for secret, token in self._tokens.items():
            text = text.replace(token, secret)
        return text

    def exposed(self, text: str, origin: str) -> int:
        """How many secrets of ``origin`` are in ``text`` verbatim."""
        secrets = {found[0] for pattern in self._options.secrets.values() for found in re.finditer(pattern, origin)}
        return sum(secret in text for secret in secrets)

    @property
    def count(self) -> int:
        """How many secrets have been hidden."""
        return len(self._tokens)

    def _token(self, kind: str, secret: str) -> str:
        if secret not in self._tokens:
            number = 1 + sum(token.startswith(f"[{kind.upper()}-") for token in self._tokens.values())
            self._tokens[secret] = f"[{kind.upper()}-{number}]"
        return self._tokens[secret]


def crosses(own: Peer, other: Peer) -> bool:
    """Whether what goes from one node to the other leaves the tier; without tiers, every node is a tier of its own."""
    return own.name != other.name and (own.tier is None or own.tier != other.tier)
