"""The queue of a node whose model is a foreign server."""

import asyncio
from collections.abc import Sequence

from testbed.node.config import EndpointOptions, NodeConfig
from testbed.node.endpoint.server import EndpointError, Server
from testbed.node.endpoint.wire import RemoteMessage, RemoteRequest
from testbed.node.engine.model import Sampling
from testbed.node.engine.queue import ABANDONED, CancelledJobError, JobQueue, Outcome, Task
from testbed.node.event_log import EventWriter
from testbed.patterns.participant import ChatMessage, JobError, PlainText

_HELLO = Sampling(0.0, 1, seed=0)


class EndpointQueue(JobQueue):
    """Hands jobs to a server, up to ``slots`` at once. What only a model in memory can do is refused by name."""

    def __init__(self, server: Server, config: NodeConfig, options: EndpointOptions, log: EventWriter) -> None:
        """Raises JobError for what a server cannot be told."""
        super().__init__(log, config.queue)
        if config.chat.template is not None:
            raise JobError(f"{config.name}: a foreign server has its chat template; leave out `template`")
        self._server = server
        self._model = config.model
        self._slots = config.slots
        self._system = config.chat.system
        self._logprobs = options.logprobs
        self._running: dict[str, asyncio.Task[Outcome | JobError]] = {}

    async def rehearse(self) -> None:
        """See that the server answers a message of one word with a token; raises EndpointError."""
        await self._server.rehearse(self._request([{"role": "user", "content": "Hello"}], _HELLO))

    async def serve(self) -> None:
        """Work through the queue for ever."""
        async with asyncio.TaskGroup() as slots:
            for _ in range(self._slots):
                slots.create_task(self._serve_slot())

    async def ready(self) -> None:
        """Return at once: the server was asked before the node became ready."""

    def check(self, messages: Sequence[ChatMessage]) -> None:
        """Raise JobError for what is no chat. How long a chat may be is the server's to say."""
        if isinstance(messages, PlainText):
            raise JobError("a foreign server completes chats only; use /v1/chat/completions")

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """As many tokens as a chat has at most: one for each byte. Only the server knows its tokenizer."""
        return sum(len(message["content"].encode(errors="replace")) for message in messages)

    def vocabulary(self) -> str:
        """Raises JobError: it is not known."""
        raise JobError("the vocabulary of a foreign server is not known")

    def text_of(self, tokens: Sequence[int]) -> str:
        """Raises JobError: a server hands out no numbers of tokens."""
        del tokens
        raise JobError("a foreign server hands out no tokens")

    def _stop(self, job: str) -> None:
        if job in self._running:
            self._running[job].cancel()

    async def _serve_slot(self) -> None:
        while True:
            task = await self._take()
            self._log.emit("start", job=task.job)
            work = self._running[task.job] = asyncio.create_task(self._infer(task))
            try:
                await asyncio.wait({work})
            finally:
                work.cancel()
                del self._running[task.job]
            outcome = CancelledJobError(ABANDONED) if work.cancelled() else work.result()
            self._ended(task, outcome)
            self._settle(task, outcome)

    async def _infer(self, task: Task) -> Outcome | JobError:
        first = True

        def on_text(text: str) -> None:
            nonlocal first
            if first and self._server.streams:  # else nobody knows when its first token was written
                self._log.emit("first_token", job=task.job)
            first = False
            task.on_text(text)

        try:
            if task.draft is not None:
                raise JobError("a foreign server cannot verify a draft")
            request = self._request(task.messages, task.sampling)
            return await self._server.complete(task.job, request, on_text)
        except EndpointError as error:
            self._log.emit("endpoint_failed", job=task.job, kind=error.kind, reason=str(error))
            return error
        except JobError as error:
            return error
        except Exception as error:  # whatever a listener raises must not end the queue
            return JobError(str(error))

    def _request(self, messages: Sequence[ChatMessage], sampling: Sampling) -> RemoteRequest:
        """Raises JobError for what the API cannot ask."""
        if sampling.begun:
            raise JobError("a foreign server cannot continue from given tokens")
        if sampling.grammar is not None:
            raise JobError("a foreign server takes no grammar; leave out response_format")
        if sampling.ignore_eos:
            raise JobError("a foreign server ends an answer where its model does; leave out ignore_eos")
        if sampling.top_logprobs is not None and not self._logprobs:
            raise JobError("log-probabilities are asked of this server only with `logprobs: true` of the node")
        return RemoteRequest(
            model=self._model,
            messages=self._complete(messages),
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            stop=list(sampling.stop) or None,
            logprobs=True if self._logprobs else None,
            top_logprobs=sampling.top_logprobs or None,
        )

    def _complete(self, messages: Sequence[ChatMessage]) -> list[RemoteMessage]:
        """A chat with the node's system message, unless it begins with one of its own."""
        if self._system and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self._system}, *messages]
        return [RemoteMessage.model_validate(message) for message in messages]
