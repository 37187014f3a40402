"""What a node knows again after a restart, from the trace that it wrote before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.node.journal import Past, as_arrival, recall
from testbed.patterns.participant import Completion, Prompt


def test_a_node_that_never_ran_has_no_past(tmp_path: Path) -> None:
    assert recall(tmp_path / "none.jsonl") == Past()


def test_prompts_and_jobs_are_recalled_with_what_came_of_them(make_trace: Callable[[str], Any]) -> None:
    file = make_trace("a")
    emit = file.trace.emit
    emit("ready", load_seconds=1)
    for prompt in ("p1", "p2", "p3"):
        emit("arrival", prompt=prompt, text=f"{prompt}?")
    secret = Prompt(
        "p4", "p4?", privacy="device", before=({"role": "system", "content": "Be brief."},), allowed=("A",), tokens=7
    )
    emit("arrival", **as_arrival(secret))
    emit("enqueue", job="p1.1@a", prompt="p1", layer="1", owner="a")
    emit("start", job="p1.1@a")
    emit("end", job="p1.1@a", prompt_tokens=3, tokens=2, text="Roma, sûr", stopped=True)
    emit("enqueue", job="p9.1@a", prompt="p9", layer="1", owner="b")
    emit("job_failed", job="p9.1@a", reason="too long")
    emit("enqueue", job="p3.1@a", prompt="p3", layer="1", owner="a")
    emit("start", job="p3.1@a")
    emit("enqueue", job="request-1@a")
    emit("end", job="request-1@a", prompt_tokens=3, tokens=2, text="x", stopped=True)
    emit("answer", prompt="p1", text="Roma")
    emit("failed", prompt="p2", reason="broken")

    past = recall(file.path)
    assert past.began
    assert past.unfinished == (Prompt("p3", "p3?"), secret)
    assert past.jobs.keys() == {"p1.1@a", "p9.1@a"}
    assert past.jobs["p1.1@a"] == Completion("Roma, sûr", 3, 2, True)
    assert str(past.jobs["p9.1@a"]) == "too long"
    assert (past.prompts["p1"], str(past.prompts["p2"])) == ("Roma", "broken")
