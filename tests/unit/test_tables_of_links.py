"""Tables of links: what their rows mean, what is refused in which line, and how links follow them in play."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.core.errors import SpecError
from testbed.faults.effects import ActiveEffects
from testbed.faults.targets import change_link
from testbed.run.playing.tables import follow_tables
from testbed.schema.network.direction import Direction, Loss, read_recording
from testbed.schema.network.link_table import LinkTable
from testbed.schema.network.shape import Shape, TwoWayShape, read_shape, resolve_direction, resolve_table
from testbed.simulation.network import LinkNetwork

TABLE = "time,bandwidth,delay,loss\n0s,10mbit,20ms,0%\n10ms,2mbit,80ms,100%\n1min,unlimited,20ms,1.5%\n"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(content: str, name: str = "table.csv") -> str:
        path = tmp_path / name
        path.write_text(content)
        return str(path)

    return write


def _table(path: str) -> LinkTable:
    table = read_recording(Path(path))
    assert isinstance(table, LinkTable)
    return table


@pytest.mark.parametrize(
    "content",
    [
        TABLE,
        "time (s),bandwidth (mbit),delay (ms),loss (%)\n0,10,20,0\n0.01,2,80,100\n60,1e6,20,1.5\n",
        "\ufeffLoss [%];".replace(";", ",")
        + ' "Delay",TIME (ms),bandwidth\r\n0, 20ms,0,10mbit\r\n\r\n100,80ms,10,2mbit\r\n',
    ],
    ids=["units in cells", "units in the header", "another order, as spreadsheets write it"],
)
def test_a_row_holds_from_its_time_to_the_next(write: Any, content: str) -> None:
    table = _table(write(content))
    for seconds, loss, delay, bandwidth in ((0, 0, 0.02, 10e6), (0.009, 0, 0.02, 10e6), (0.01, 1, 0.08, 2e6)):
        assert table.at(seconds) == {"bandwidth": bandwidth, "delay": delay, "loss": Loss(in_good=loss)}


def test_the_last_row_holds_to_the_end(write: Any) -> None:
    assert _table(write(TABLE)).at(1e6) == {"bandwidth": None, "delay": 0.02, "loss": Loss(in_good=0.015)}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("time,delay\n0s,10\n", "line 2: delay: 10 has no unit; write it like 10ms"),
        ("time,delay\n0s,10ms\n1s,-3ms\n", "line 3: delay: '-3ms' must be at least zero"),
        ("time,bandwidth\n0s,10mbit\n\n1s,0mbit\n", "line 4: bandwidth: '0mbit' must be above zero"),
        ("time (s),loss (%)\n0,1\n1,101\n", "line 3: loss: '101%' must be at most 100%"),
        ("time (s),delay (ms)\n0,\n", "line 2: delay: 'ms' is not a delay; write it like 10ms"),
        ("time,delay\n0s,10ms\n1s\n", "line 3: the header has 2 columns, and this row has 1"),
        ("time,delay\n0s,10ms\n1s,10ms,x\n", "line 3: the header has 2 columns, and this row has 3"),
        ("time,delay\n1s,10ms\n", "line 2: the first row must be at 0s"),
        ("time,delay\n0s,10ms\n2s,9ms\n1s,8ms\n", "line 4: rows must be in the order of time, at least 10ms apart"),
        ("time,delay\n0s,10ms\n1ms,9ms\n", "line 3: rows must be in the order of time, at least 10ms apart"),
        ("time,jam\n0s,10ms\n", "line 1: 'jam' is no column of a table of a link; known are time, bandwidth, delay"),
        ("0s,10ms\n1s,20ms\n", "line 1: '0s' is no column"),
        ("time,delay,delay\n0s,1ms,1ms\n", "line 1: the column 'delay' is there twice"),
        ("time\n0s\n", "line 1: a table needs the column 'time' and at least one of bandwidth, delay, loss"),
        ("delay,loss\n1ms,0%\n", "line 1: a table needs the column 'time'"),
        ("time,delay\n", "has no rows below its header"),
        ('time,delay\n0s,"10ms\n', "line 2: unexpected end of data"),
        ("time,loss\n0s,100%\n1s,0%\n", "begins with a loss of 100%, so nodes could not find each other"),
    ],
)
def test_what_is_wrong_in_a_table_is_named_with_its_line(write: Any, content: str, sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        read_shape({"trace": write(content)})
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_direction_begins_with_the_first_row_and_more_specific_properties_displace_columns(write: Any) -> None:
    around, link = (
        Shape.model_validate({"delay": "500ms", "loss": "2%"}),
        TwoWayShape.model_validate({"trace": write(TABLE), "up": {"delay": "1ms"}}),
    )  # type: ignore[arg-type]
    assert resolve_direction("down", around, link) == Direction(bandwidth=10e6, delay=0.02)
    assert resolve_direction("up", around, link) == Direction(bandwidth=10e6, delay=0.001)
    up, down = (resolve_table(direction, around, link) for direction in ("up", "down"))
    assert up is not None
    assert down is not None
    assert set(up.columns) == {"bandwidth", "loss"}
    assert set(down.columns) == {"bandwidth", "delay", "loss"}
    assert resolve_table("up", link, Shape(preset="lte")) is None, "a preset says everything"
    assert Shape.model_validate(link.up.model_dump(mode="json")) == link.up


def test_a_property_stands_in_one_place(write: Any) -> None:
    with pytest.raises(ValueError, match="`delay` and a `trace` that says it exclude each other"):
        Shape.model_validate({"trace": write(TABLE), "delay": "10ms"})
    delays = write("time,delay\n0s,10ms\n", "delays.csv")
    assert Shape.model_validate({"trace": delays, "bandwidth": "1mbit"}).said()["bandwidth"] == 1e6


def test_a_jitter_above_the_delay_of_any_row_is_refused(write: Any) -> None:
    shape = Shape.model_validate({"trace": write("time,delay\n0s,10ms\n1s,2ms\n"), "jitter": "5ms"})
    with pytest.raises(ValueError, match="a jitter of 5 ms is more than the delay of 2 ms"):
        resolve_direction("up", shape)


def test_only_a_topology_has_tables(files: Any, write: Any) -> None:
    path = write(TABLE)
    with pytest.raises(SpecError, match="--trace: a link follows a table from the beginning of play"):
        read_shape({"trace": path})
    text = files.scenario + f"timeline:\n  - {{at: 1s, degrade: {{link: a-s1, trace: {path}}}, for: 1s}}\n"
    with pytest.raises(SpecError, match="a link follows a table from the beginning of play"):
        files.load(scenario=text)


def test_in_play_a_link_follows_its_table_and_faults_act_on_that(files: Any, write: Any) -> None:
    path = write("time,delay\n0s,10ms\n20ms,20ms\n60ms,30ms\n")
    topology = files.load(
        topology=files.topology.replace("endpoints: [a, s1]", f"endpoints: [a, s1]\n    up: {{trace: {path}}}")
    )
    link = topology.topology.resolved_links[0]
    changes: list[Any] = []
    world: Any = SimpleNamespace(
        plan=SimpleNamespace(scenario=topology),
        original_link=lambda name: {link.name: link}[name],
        change_link=lambda name, said: changes.append((name, said["up"], said["down"])),
    )

    async def play() -> None:
        effects = ActiveEffects(world)
        zero = asyncio.get_running_loop().time()
        following = asyncio.create_task(follow_tables(world, zero, effects, lambda *_: pytest.fail("it can follow")))
        while not changes:
            await asyncio.sleep(0)
        slow = change_link(link.name, {"up": {"delay": 0.5}})
        await effects.replace([], [slow])
        await following
        await effects.replace([slow], [])

    asyncio.run(play())
    assert [(name, up["delay"], down) for name, up, down in changes] == [
        ("a-s1", 0.02, {}),
        ("a-s1", 0.5, {}),
        ("a-s1", 0.03, {}),
    ]


def test_tables_are_not_simulated(files: Any, write: Any) -> None:
    topology = files.load(
        topology=files.topology.replace("endpoints: [a, s1]", f"endpoints: [a, s1]\n    trace: {write(TABLE)}")
    )
    with pytest.raises(SpecError, match="link a-s1: `trace` is not simulated"):
        LinkNetwork(topology.topology)
