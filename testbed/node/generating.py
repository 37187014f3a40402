"""Requests for completions, plain or streamed. One that asks for several makes as many jobs."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from testbed.node.agent import Agent
from testbed.node.calls.requests import seen
from testbed.node.openai.chats import ChatRequest, ChatResponse
from testbed.node.openai.generation import GenerationRequest, Usage
from testbed.node.openai.streams import DONE, ChatStream, Growth, Stream, TextStream, event
from testbed.node.openai.texts import TextRequest, TextResponse
from testbed.patterns.participant import Completion

OnText = Callable[[int, str], None]
"""Takes the number of a completion, and what its text has grown by."""


def names(request: GenerationRequest, name: str) -> list[str]:
    """The names of the jobs of a request called ``name``; the first is the request's own."""
    return [job_name(name, number) for number in range(len(request.single()))]


def job_name(name: str, number: int) -> str:
    """The name of one of a request's jobs, counted from 0."""
    stem, at, node = name.rpartition("@")
    return name if number == 0 else f"{stem}~{number + 1}{at}{node}"


class Generator:
    """Answers requests with an agent's own model."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def chat(self, request: ChatRequest, name: str, seconds: float | None) -> ChatResponse:
        """The answer to a request that is no stream; raises JobError."""
        completions = await self._complete(request, name, seconds, None)
        return ChatResponse.of(completions, request, name, self._agent.config.model)

    async def text(self, request: TextRequest, name: str, seconds: float | None) -> TextResponse:
        """The answer to a request that is no stream; raises JobError."""
        completions = await self._complete(request, name, seconds, None)
        return TextResponse.of(completions, request, name, self._agent.config.model)

    async def events(self, request: GenerationRequest, name: str, seconds: float | None) -> AsyncGenerator[bytes, None]:
        """The answer as server-sent events, each text as soon as it is certain; raises JobError.

        Whoever stops listening stops nothing: see :meth:`Agent.abandon`.
        """
        loop = asyncio.get_running_loop()
        grown: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue()

        def hear(number: int, text: str) -> None:
            loop.call_soon_threadsafe(grown.put_nowait, (number, text))

        stream = self._stream(request, name)
        growth = Growth(stream)
        work = asyncio.create_task(self._complete(request, name, seconds, hear))
        work.add_done_callback(seen)
        work.add_done_callback(lambda _: grown.put_nowait(None))
        while (news := await grown.get()) is not None:
            yield growth.add(*news)
        completions = work.result()
        for number, completion in enumerate(completions):
            for last in growth.end(number, completion):
                yield last
        if request.with_usage:
            yield event(stream.usage(Usage.of(completions, request.n or 1)))
        yield DONE

    def _stream(self, request: GenerationRequest, name: str) -> Stream:
        kind = ChatStream if isinstance(request, ChatRequest) else TextStream
        return kind(request, name, self._agent.config.model)

    async def _complete(
        self, request: GenerationRequest, name: str, seconds: float | None, on_text: OnText | None
    ) -> list[Completion]:
        """All completions of a request; raises JobError as soon as one fails, and then no other is done."""
        singles = request.single()
        jobs = names(request, name)
        tasks = [
            asyncio.create_task(self._agent.complete(single, job, seconds, _told(on_text, number)))
            for number, (single, job) in enumerate(zip(singles, jobs, strict=True))
        ]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task, job in zip(tasks, jobs, strict=True):
                if task.cancel() and len(jobs) > 1:
                    self._agent.cancel(job, "another job of its request has failed")
            raise


def _told(on_text: OnText | None, number: int) -> Callable[[str], None] | None:
    return None if on_text is None else lambda text: on_text(number, text)
