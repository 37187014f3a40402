"""What a node's faults of character are, as the host writes them to a file that the agent reads.

The API would not do: an agent may be stopped when such a fault begins or ends, and the fault holds after a restart.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Trait(BaseModel):
    """One fault of character."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str


class Answering(Trait):
    """A trait that changes a share of the node's answers. ``share`` is from 0 to 1."""

    share: float = 1.0


class Lying(Answering):
    """The node says the decoys of ``group``, which the host gave it at its start, in place of its answers."""

    kind: Literal["lie"] = "lie"
    group: str


class Garbling(Answering):
    """The letters and digits of an answer are replaced by random ones."""

    kind: Literal["garble"] = "garble"


class Injecting(Answering):
    """An order to the reader follows each answer."""

    kind: Literal["inject"] = "inject"
    text: str


class Resending(Answering):
    """The node says an earlier answer of its own again."""

    kind: Literal["resend"] = "resend"


class Asking(Trait):
    """The node sends ``rate`` requests a second to each of the nodes ``to``, whatever it has to do."""

    rate: float
    to: tuple[str, ...]


class Flooding(Asking):
    """Its requests are in nobody's name."""

    kind: Literal["flood"] = "flood"


class Impersonating(Asking):
    """Its requests say that ``victim`` sends them."""

    kind: Literal["impersonate"] = "impersonate"
    victim: str


class Swapping(Trait):
    """The node answers with ``model``, which the host gave it at its start, in place of its own."""

    kind: Literal["swap"] = "swap"
    model: str


AnyTrait = Annotated[
    Lying | Garbling | Injecting | Resending | Flooding | Impersonating | Swapping, Field(discriminator="kind")
]


class Character(BaseModel):
    """The content of the file: the traits in the order in which their faults began."""

    traits: tuple[AnyTrait, ...] = ()


class CharacterFile:
    """The file that the host writes; without one, the node is honest."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def traits(self) -> Sequence[AnyTrait]:
        """The traits that the node has at this moment."""
        try:
            return Character.model_validate_json(self._path.read_text(encoding="utf-8")).traits
        except FileNotFoundError:
            return ()
