"""The agent: the node's part in a pattern."""

import asyncio
import random
import time
from collections.abc import Sequence

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout

from testbed import seeds
from testbed.node.config import PORT, NodeConfig
from testbed.node.model import TOP_P, Completion, Sampling
from testbed.node.openai import ChatMessage, ChatRequest, ChatResponse
from testbed.node.queue import InferenceQueue
from testbed.node.trace import Trace
from testbed.patterns.participant import Job, JobError, Prompt


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g}s"
    return "no connection" if isinstance(error, ClientConnectorError) else str(error)


def origin_of(request: ChatRequest) -> dict[str, str]:
    """What a request says of the prompt that it serves; other clients' metadata means nothing here."""
    metadata = request.metadata or {}
    return {key: metadata[key] for key in ("prompt", "layer", "owner") if key in metadata}


class Agent:
    """Answers prompts with its neighbours, and their requests with its own model. It is a pattern's Participant."""

    def __init__(self, config: NodeConfig, queue: InferenceQueue, trace: Trace, session: ClientSession) -> None:
        self.config = config
        self._queue = queue
        self._trace = trace
        self._session = session

    @property
    def neighbours(self) -> Sequence[str]:
        """The names of the nodes that it can ask."""
        return list(self.config.neighbours)

    def random(self, *names: object) -> random.Random:
        """A generator for the subject ``names``, split from the run's seed."""
        return seeds.stream(self.config.seed, *names)

    async def answer(self, prompt: Prompt) -> str:
        """Take ``prompt`` through the pattern; raises JobError if it has no answer."""
        self._trace.emit("arrival", prompt=prompt.id)
        try:
            text = await self.config.pattern.answer(prompt, self)
        except Exception as error:  # every prompt ends: with an answer or with a reason
            self._trace.emit("failed", prompt=prompt.id, reason=str(error))
            raise JobError(str(error)) from error
        self._trace.emit("answer", prompt=prompt.id, text=text)
        return text

    async def infer(self, job: Job) -> str:
        """The answer of this node's own model; raises JobError."""
        completion = await self.complete(self._request(job), f"{job.prompt}.{job.layer}@{self.config.name}")
        return completion.text

    async def ask(self, neighbour: str, job: Job, timeout: float) -> str:
        """The answer of a neighbour's model, over the emulated network; raises JobError."""
        message = f"{job.prompt}.{job.layer}@{neighbour}"
        try:
            answer = await self._exchange(neighbour, message, self._request(job), timeout)
        except (ClientError, OSError, TimeoutError, ValueError) as error:
            reason = _reason(error, timeout)
            self._trace.emit("ask_failed", message=f"{message}/request", peer=neighbour, reason=reason)
            raise JobError(f"{neighbour}: {reason}") from error
        return answer.choices[0].message.content

    async def complete(self, request: ChatRequest, job: str) -> Completion:
        """Queue a chat for this node's model; raises JobError."""
        sampling = Sampling(
            temperature=self.config.temperature if request.temperature is None else request.temperature,
            max_tokens=request.max_completion_tokens or request.max_tokens or self.config.max_tokens,
            seed=self.random("sampling", job).getrandbits(31) if request.seed is None else request.seed,
            top_p=request.top_p or TOP_P,
        )
        messages = [message.model_dump() for message in request.messages]
        return await self._queue.complete(job, messages, sampling, origin_of(request))

    async def reach(self) -> dict[str, float | None]:
        """The seconds that a request to each neighbour takes; None for one that cannot be reached."""
        return dict(zip(self.neighbours, await asyncio.gather(*map(self._knock, self.neighbours)), strict=True))

    async def _knock(self, neighbour: str) -> float | None:
        begin = time.monotonic()
        try:
            async with self._session.get(f"{self._url(neighbour)}/v1/models", timeout=ClientTimeout(5)) as response:
                await response.read()
        except (ClientError, OSError, TimeoutError):
            return None
        return time.monotonic() - begin

    async def _exchange(self, neighbour: str, message: str, request: ChatRequest, timeout: float) -> ChatResponse:
        body = request.model_dump_json(exclude_defaults=True).encode()
        headers = {"Content-Type": "application/json", "X-Request-Id": message}
        url = f"{self._url(neighbour)}/v1/chat/completions"
        self._trace.emit("send", message=f"{message}/request", peer=neighbour, bytes=len(body))
        async with self._session.post(url, data=body, headers=headers, timeout=ClientTimeout(timeout)) as response:
            content = await response.read()
            self._trace.emit("receive", message=f"{message}/response", peer=neighbour, bytes=len(content))
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            return ChatResponse.model_validate_json(content)

    def _request(self, job: Job) -> ChatRequest:
        metadata = {"prompt": job.prompt, "layer": str(job.layer), "owner": self.config.name}
        return ChatRequest(messages=[ChatMessage(role="user", content=job.text)], metadata=metadata)

    def _url(self, neighbour: str) -> str:
        return f"http://{self.config.neighbours[neighbour]}:{PORT}"
