"""The text of an answer as it grows, token by token."""

import codecs
from collections.abc import Callable, Sequence


class Writer:
    """Collects the text of drawn tokens, up to the first of the texts ``stops``; ``piece`` gives a token's bytes.

    What :meth:`add` and :meth:`finish` return is, joined, :attr:`text`. A text leaves once it is certain: when its last
    character is whole, no stop may be beginning in it, and no white space at its end may have to go.
    """

    def __init__(self, piece: Callable[[int], bytes], stops: Sequence[str] = ()) -> None:
        self._piece = piece
        self._stops = stops
        self._beginnings = tuple({stop[:length] for stop in stops for length in range(1, len(stop))})
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._decoded = ""
        self._told = 0
        self.stopped = False

    @property
    def text(self) -> str:
        """The text so far, without white space around it."""
        return self._decoded.strip()

    def add(self, token: int) -> str:
        """What has become certain by a token."""
        self._take(self._decode(self._piece(token)))
        return self._newly(self._decoded if self.stopped else self._certain())

    def finish(self) -> str:
        """The rest of the text: no token follows."""
        if not self.stopped:
            self._take(self._decode(b"", True))
        return self._newly(self._decoded)

    def _take(self, more: str) -> None:
        begin = max(0, len(self._decoded) - max(map(len, self._stops), default=0))
        self._decoded += more
        found = [place for stop in self._stops if (place := self._decoded.find(stop, begin)) >= 0]
        if found:
            self._decoded = self._decoded[: min(found)]
            self.stopped = True

    def _certain(self) -> str:
        held = max((len(text) for text in self._beginnings if self._decoded.endswith(text)), default=0)
        return self._decoded[: len(self._decoded) - held]

    def _newly(self, certain: str) -> str:
        visible = certain.strip()
        new, self._told = visible[self._told :], max(self._told, len(visible))
        return new
