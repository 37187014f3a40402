"""How a program is asked a prompt: by its OpenAI-compatible API, or by a command in its container.

Both come from inside the node, over its loopback interface at most. What a request does to the program's own peers
crosses the links.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiohttp import ClientError, ClientResponse, ClientSession
from aiohttp.http_exceptions import LineTooLong

from testbed.core import seeds
from testbed.host.namespace import Namespace
from testbed.node.endpoint.wire import DATA, DONE
from testbed.node.participant import CHATS
from testbed.patterns.participant import JobError, Prompt
from testbed.schema.scenario import Sampling
from testbed.world.commands import DOCKER
from testbed.world.nodes.programs.readiness import listening_address, url
from testbed.world.nodes.programs.spec import Answers

_MOST: Final = 2**20
"""Bytes of an answer: more is no answer to a prompt."""

_REASON: Final = 300  # characters of an error that are told


class Asked(Protocol):
    """The node of a program that is asked. ``container`` is what Docker calls its container."""

    name: str
    namespace: Namespace
    sampling: Sampling
    seed: int

    @property
    def container(self) -> str: ...

    def emit(self, event: str, **fields: object) -> None:
        """Record an event of the node."""


@dataclass
class _Streamed:
    """An answer as it grows. ``read`` and ``written`` are tokens, once the server has counted them."""

    text: str = ""
    pieces: int = 0
    read: int | None = None
    written: int | None = None
    stopped: bool = False

    def take(self, chunk: dict[str, Any]) -> bool:
        """Add a chunk of the stream; returns whether it has the first text."""
        if usage := chunk.get("usage"):
            self.read, self.written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        for choice in chunk.get("choices") or ():
            self.stopped |= choice.get("finish_reason") == "stop"
            if text := (choice.get("delta") or {}).get("content"):
                self.text += text
                self.pieces += 1
                return self.pieces == 1
        return False


async def ask_openai(node: Asked, http: ClientSession, answers: Answers, prompt: Prompt) -> str:
    """The answer of the API at the node's port; raises JobError.

    The events of the call are those of an agent's inference. A server that does not count tokens (``usage``) has as
    many as it sent pieces of text, and has read none.
    """
    job = f"{prompt.id}.1@{node.name}"
    assert answers.openai is not None
    address = listening_address(node.namespace, answers.openai)
    if address is None:
        raise JobError(f"nothing listens on port {answers.openai} of {node.name}")
    node.emit("enqueue", job=job, prompt=prompt.id, layer="1", role="answer", owner=node.name)
    node.emit("start", job=job)
    streamed = _Streamed()
    try:
        request = http.post(url(address, answers.openai, CHATS), json=_request(node, answers, prompt))
        async with request as response:
            await _check(response)
            async for chunk in _chunks(response):
                if streamed.take(chunk):
                    node.emit("first_token", job=job)
                if len(streamed.text) > _MOST:
                    raise JobError(f"the answer has more than {_MOST} characters")
    except (ClientError, OSError, ValueError, JobError) as error:
        reason = str(error) or type(error).__name__
        node.emit("job_failed", job=job, reason=reason)
        raise JobError(reason) from error
    except asyncio.CancelledError:  # play is over for this prompt
        node.emit("job_failed", job=job, reason="nobody waits for it any more")
        raise
    node.emit(
        "end",
        job=job,
        prompt_tokens=streamed.read or 0,
        tokens=streamed.pieces if streamed.written is None else streamed.written,
        text=streamed.text,
        stopped=streamed.stopped,
    )
    return streamed.text


def _request(node: Asked, answers: Answers, prompt: Prompt) -> dict[str, Any]:
    return {
        "model": answers.model,
        "messages": prompt.chat([{"role": "user", "content": prompt.text}]),
        "max_tokens": node.sampling.max_tokens,
        "temperature": node.sampling.temperature,
        "seed": seeds.stream(node.seed, node.name, prompt.id).randrange(2**31),
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def _check(response: ClientResponse) -> None:
    """Raise JobError unless the status is 200."""
    if response.status != 200:
        said = (await response.content.read(_MOST)).decode(errors="replace")
        raise JobError(f"status {response.status}: {said.strip()[:_REASON]}")


async def _chunks(response: ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a stream of events; raises JobError for one that says that the server failed."""
    lines = aiter(response.content)
    while line := await _line(lines):
        if not line.startswith(DATA) or (data := line.removeprefix(DATA).strip()) == DONE:
            continue
        chunk = json.loads(data)
        if not isinstance(chunk, dict) or "error" in chunk:
            raise JobError(f"the server failed: {data.decode(errors='replace')[:_REASON]}")
        yield chunk


async def _line(lines: AsyncIterator[bytes]) -> bytes:
    """The next line, empty at the end; raises JobError for one that is too long."""
    try:
        return await anext(lines, b"")
    except LineTooLong:
        raise JobError("the server sent a line that is too long") from None


async def ask_command(node: Asked, command: Sequence[str], prompt: Prompt) -> str:
    """What a command in the container printed, given the prompt as its input; raises JobError unless it ends with 0."""
    if prompt.before:
        raise JobError("a command is given a prompt alone, and this one has a chat before it")
    process = await asyncio.create_subprocess_exec(
        *DOCKER,
        *("exec", "--interactive", node.container, *command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate(prompt.text.encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        said = errors.decode(errors="replace").strip()[-_REASON:]
        raise JobError(f"{command[0]} ended with code {process.returncode}: {said}".rstrip(": "))
    if len(output) > _MOST:
        raise JobError(f"the answer has more than {_MOST} bytes")
    return output.decode(errors="replace").strip()
