"""A real model by its name: fetched once, split over three containers, and as good as in one piece."""

import json
import re
from collections.abc import Callable

import pytest
from observed import FinishedRun

from testbed.models.resolution import resolve
from testbed.node.engine.model import ChatModel, Sampling

NAME = "smollm2-135m-instruct"
SCENARIO = f"""\
name: real-ring
topology:
  name: ring
  defaults: {{link: {{bandwidth: 100mbit, delay: 2ms}}}}
  nodes:
    a: {{model: {NAME}, cpus: 0.5, memory: 256MiB}}
    b: {{model: {NAME}, cpus: 0.5, memory: 256MiB}}
    c: {{model: {NAME}, cpus: 0.5, memory: 256MiB}}
  switches: [s1]
  links:
    - endpoints: [a, s1]
    - endpoints: [b, s1]
    - endpoints: [c, s1]
seed: 7
pattern: {{kind: pipeline, ring: [a, b, c], samples: 2}}
sampling: {{temperature: 0.0, max_tokens: 8}}
workload:
  prompts: worldfacts
  arrivals: {{process: poisson, rate: 4/s}}
  count: 2
expect:
  completed: ">= 1"
"""


@pytest.fixture(scope="module")
def ring(run: Callable[..., FinishedRun], tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    path = tmp_path_factory.mktemp("scenario") / "real_ring.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    return run(path, "--fidelity", "off")


def test_a_ring_of_three_answers_as_the_model_in_one_piece(ring: FinishedRun) -> None:
    assert ring.exit_code == 0, ring.output
    alone = ChatModel(resolve(NAME).path, context=512, threads=1)
    asked = {event["prompt"]: event["text"] for event in ring.events if event["event"] == "prompt"}
    answers = {event["job"].split(".")[0]: event["text"] for event in ring.events if event["event"] == "end"}
    for prompt, text in asked.items():
        said = alone.complete([{"role": "user", "content": text}], Sampling(0.0, 8, seed=0), _ignore)
        assert answers[prompt] == said.text


def test_the_thirty_layers_are_spread_over_the_nodes(ring: FinishedRun) -> None:
    manifest = json.loads((ring.path / "manifest.json").read_text())
    assert {model["reference"] for model in manifest["models"].values()} == {NAME}
    stages = [re.match(r"layers (\d+)-(\d+)", manifest["stages"][node]) for node in "abc"]
    held = [number for stage in stages if stage for number in range(int(stage[1]), int(stage[2]) + 1)]
    assert held == list(range(30))
    assert all(stages)


def _ignore(*_: object) -> None:
    pass
