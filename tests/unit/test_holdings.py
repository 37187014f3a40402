"""What nodes of a ring hold, and what is said of a ring that cannot be."""

from pathlib import Path

import pytest

from testbed.core.errors import SpecError
from testbed.models.holdings import Holding, model_mistakes, provide, resolve_all
from testbed.node import config as places
from testbed.schema.scenario import load_scenario

PROJECT = Path(__file__).parents[2]
PIPELINE = PROJECT / "scenarios" / "pipeline.yaml"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))


def _provided(*assignments: str) -> tuple[dict[str, Holding], list[str]]:
    scenario = load_scenario(PIPELINE, assignments, model_mistakes)
    models, said = resolve_all(scenario), list[str]()
    return provide(scenario, models, dict.fromkeys(models, 0.3), said.append), said


def test_every_node_of_a_ring_gets_its_stage_and_the_head_the_front() -> None:
    holdings, said = _provided()
    assert {name: set(holding.files) for name, holding in holdings.items()} == {
        "a": {places.MODEL, places.FRONT},
        "b": {places.MODEL},
        "c": {places.MODEL},
    }
    files = [path for holding in holdings.values() for path in holding.files.values()]
    assert len(set(files)) == 4
    assert all(path.is_file() for path in files)
    assert [line.split(" in ")[0] for line in said] == [
        "a holds layers 0-1",
        "b holds layers 2-3",
        "c holds layers 4-5 and the output matrix",
    ]


def test_a_node_outside_the_ring_holds_its_model() -> None:
    holdings, _ = _provided("pattern.ring=[b, a]")
    assert holdings["c"].files[places.MODEL].name == "alpha.gguf"
    assert set(holdings["b"].files) == {places.MODEL, places.FRONT}


def test_where_others_take_over_they_have_the_stages_for_that() -> None:
    holdings, said = _provided("pattern.take_over=1s")
    without = {
        name: {str(path) for path in holding.files if path.is_relative_to(places.WITHOUT)}
        for name, holding in holdings.items()
    }
    assert without == {
        "a": {"/without/b.gguf", "/without/c.gguf"},
        "b": {"/without/c.gguf"},
        "c": {"/without/b.gguf"},
    }
    assert said[-2:] == ["without b the layers are 0-2,3-5", "without c the layers are 0-2,3-5"]


def test_where_the_others_have_no_room_it_is_said() -> None:
    small = [f"topology.nodes.{name}.memory=58MiB" for name in "abc"]
    holdings, said = _provided("pattern.take_over=1s", *small)
    assert all(not path.is_relative_to(places.WITHOUT) for holding in holdings.values() for path in holding.files)
    assert [line.split(":")[0] for line in said[-2:]] == ["b cannot be done without", "c cannot be done without"]


@pytest.mark.parametrize(
    ("assignments", "place", "sentence"),
    [
        (["pattern.ring=[a, x]"], "pattern.ring[1]", "there is no node 'x'; known are a, b, c"),
        (["pattern.ring=[a, b, a]"], "pattern", "'a' is twice in `ring`"),
        (["pattern.ring=[]"], "pattern.ring", "at least 1 item"),
        (["pattern.split=[3, 3]"], "pattern", "`split` has 2 parts for the 3 nodes of `ring`"),
        (["pattern.split=[2, 2, 3]"], "pattern", "zoo/alpha has 6 layers, and `split` has 7"),
        (["pattern.groups=2", "pattern.schedule=recurrent"], "pattern", "`groups` does not go with"),
        (["pattern.schedule=fast"], "pattern.schedule", "'sequential', 'recurrent', 'microbatch' or 'auto'"),
        (["pattern.sample=2"], "pattern.sample", "did you mean `samples`?"),
        (["topology.nodes.b.model=zoo/beta"], "nodes.b.model", "the nodes of a ring have the same"),
        (["topology.nodes.c.context=128"], "nodes.c.context", "is 128, and that of 'a' is 256"),
        (
            ["topology.nodes.b.memory=50MiB", "pattern.ring=[b]"],
            "pattern",
            "the ring cannot hold zoo/alpha: b holds none",
        ),
    ],
)
def test_what_is_wrong_with_a_ring_is_said_in_one_sentence(assignments: list[str], place: str, sentence: str) -> None:
    with pytest.raises(SpecError) as raised:
        load_scenario(PIPELINE, assignments, model_mistakes)
    said = [line for line in str(raised.value).splitlines() if f"{place}: " in line]
    assert any(sentence in line for line in said), str(raised.value)
