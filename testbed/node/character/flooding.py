"""The faults `flood` and `impersonate`: requests to other nodes without end, in nobody's name or in another's."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from testbed.core import seeds
from testbed.node.character.traits import AnyTrait, Asking, Impersonating
from testbed.node.config import PORT, NodeConfig
from testbed.node.event_log import EventWriter
from testbed.node.openai.chats import ChatRequest
from testbed.node.participant import CHATS
from testbed.node.transport.door import signer_of
from testbed.node.transport.http import HttpClient
from testbed.node.transport.signed_http import HEADER, sign_request
from testbed.node.transport.signing import Signer

Traits = Callable[[], Sequence[AnyTrait]]

_LOOK: Final = 0.2
"""Most seconds between two looks at whether the node floods."""

_UNANSWERED: Final = 64
"""Requests that wait for their responses at once: more would fill the flooding node's own memory."""


class Flooder:
    """Sends what the node's ``traits`` say. Its requests have no name and serve no prompt.

    Those in another's name go out by ``unsigned``, which neither signs nor checks: they are signed here.
    """

    def __init__(
        self, config: NodeConfig, client: HttpClient, unsigned: HttpClient, log: EventWriter, traits: Traits
    ) -> None:
        self._config = config
        self._log = log
        self._client = client
        self._unsigned = unsigned
        self._traits = traits
        self._requests: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count()
        self._due: dict[Asking, float] = {}
        self._signers: dict[str, Signer] = {}  # by victim

    async def serve(self) -> None:
        """Send requests while the node floods, until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._send_round())
        finally:
            for request in self._requests:
                request.cancel()

    def _send_round(self) -> float:
        """Send what is due of each flood; returns the seconds until the next round."""
        now = asyncio.get_running_loop().time()
        floods = [trait for trait in self._traits() if isinstance(trait, Asking)]
        self._due = {flood: self._due.get(flood, now) for flood in floods}
        if not floods:
            for request in self._requests:  # the flood is over, also for those that wait
                request.cancel()
        for flood in [flood for flood, due in self._due.items() if due <= now]:
            self._send(flood)
            self._due[flood] = max(now, self._due[flood] + 1 / flood.rate)
        return min([_LOOK, *(due - now for due in self._due.values())])

    def _send(self, flood: Asking) -> None:
        """One request to each of its targets."""
        for target in filter(self._config.neighbours.__contains__, flood.to):
            if len(self._requests) < _UNANSWERED:
                request = asyncio.create_task(self._request(target, flood))
                self._requests.add(request)
                request.add_done_callback(self._requests.discard)

    async def _request(self, target: str, flood: Asking) -> None:
        number = next(self._numbers)
        word = seeds.stream(self._config.seed, "flood", self._config.name, number).getrandbits(32)
        owner = {"metadata": {"owner": flood.victim}} if isinstance(flood, Impersonating) else {}
        request = ChatRequest.model_validate({"messages": [{"role": "user", "content": f"{word:x}?"}], **owner})
        body = request.model_dump_json(exclude_defaults=True).encode()
        headers = {"Content-Type": "application/json"}
        client = self._client
        if isinstance(flood, Impersonating):
            headers |= self._forged(flood.victim, target, headers, body)
            client = self._unsigned
        try:
            reply = await client.request("POST", self._config.neighbours[target], PORT, CHATS, body, headers)
        except OSError:
            return  # the target is away; the next request comes all the same
        if isinstance(flood, Impersonating):
            self._log.emit("forged", peer=target, victim=flood.victim, taken=reply.status == 200)

    def _forged(self, victim: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """The best that the node can do for a signature of ``victim``, where requests are signed."""
        credentials = self._config.credentials
        if credentials is None or credentials.scheme != "signed":
            return {}
        signer = self._signers.setdefault(victim, signer_of(credentials, victim))
        return {HEADER: sign_request(signer, target, "POST", CHATS, headers, body).header(victim)}
