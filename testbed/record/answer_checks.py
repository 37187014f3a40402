"""Checks of answers: the run judges what patterns ask it to, and tells all that ask how each node's answers came out.

    node ─ event `check` ─► scorer, with the truth ─► event `verdict` ─► record of each node ─ control ─► all owners

The truth stays on the host: a node learns which of the answers were right.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from testbed.analysis.events import Event
from testbed.patterns.participant import Record
from testbed.record.recording import Recording
from testbed.workload.scoring.base import Scorer
from testbed.workload.scoring.score import score_answer
from testbed.world.nodes.handle import Learner, NodeGoneError


class Checks:
    """Judges the claims of each `check` by ``scorer``, and keeps the ``records`` of the nodes that made them."""

    def __init__(self, recording: Recording, scorer: Scorer) -> None:
        self._recording = recording
        self._scorer = scorer
        self._asked: asyncio.Queue[Event] = asyncio.Queue()
        self.records: dict[str, Record] = {}
        recording.followers.append(self._notice)

    def _notice(self, event: Event) -> None:
        if event["event"] == "check":
            self._asked.put_nowait(event)

    async def serve(self, askers: Sequence[Learner]) -> None:
        """Judge as checks come, and tell ``askers``, each at its own pace, until cancelled."""
        news = [(learner, asyncio.Event()) for learner in askers]
        async with asyncio.TaskGroup() as telling:
            for learner, changed in news:
                telling.create_task(self._keep_told(learner, changed))
            while True:
                await self._judge_next()
                for _, changed in news:
                    changed.set()

    async def _judge_next(self) -> None:
        check = await self._asked.get()
        question = self._recording.questions.get(check["prompt"])
        if question is None:
            return
        for claim in check["claims"]:
            score = await asyncio.to_thread(score_answer, self._scorer, question, claim["text"])
            self._note(check["prompt"], claim, score.value)

    def _note(self, prompt: str, claim: dict[str, object], value: float | None) -> None:
        by, weight = str(claim["by"]), float(str(claim["weight"]))
        self._recording.emit("verdict", prompt=prompt, by=by, weight=weight, value=value)
        if value is not None:
            self.records[by] = self.records.get(by, Record()).with_answer(weight, value)

    async def _keep_told(self, learner: Learner, changed: asyncio.Event) -> None:
        while True:
            await changed.wait()
            changed.clear()
            with suppress(NodeGoneError):  # it is told at the next check, if it is back by then
                await learner.note(self.records)
