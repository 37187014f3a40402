"""What is said of a link: in files, in presets and on the command line."""

from pathlib import Path

import pytest

from testbed.core.errors import SpecError
from testbed.schema.network.direction import Direction, Jitter, Loss, Queue
from testbed.schema.network.link_trace import FRAME, LinkTrace
from testbed.schema.network.shape import Shape, TwoWayShape, presets, read_shape, resolve_direction


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"bandwidth": "unlimited"}, {"bandwidth": None, "trace": None}),
        ({"jitter": "2ms"}, {"jitter": Jitter(0.002)}),
        (
            {"jitter": "{deviation: 2ms, distribution: pareto, correlation: 30%}"},
            {"jitter": Jitter(0.002, "pareto", 0.3)},
        ),
        ({"loss": "0.1%"}, {"loss": Loss(in_good=0.001)}),
        ({"loss": "{to_bad: 1%, to_good: 25%}"}, {"loss": Loss(to_bad=0.01, to_good=0.25)}),
        ({"queue": "100packets"}, {"queue": Queue(packets=100)}),
        ({"queue": "64KiB"}, {"queue": Queue(bytes=65536)}),
        ({"queue": "50ms"}, {"queue": Queue(seconds=0.05)}),
        ({"duplicate": "1%", "reorder": "2%", "corrupt": "3%"}, {"duplicate": 0.01, "reorder": 0.02, "corrupt": 0.03}),
    ],
)
def test_each_property_means_what_it_says_and_can_be_written_again(
    written: dict[str, str], meant: dict[str, object]
) -> None:
    shape = read_shape(written)
    assert shape.said_of("up") == shape.said_of("down") == pytest.approx(meant)
    assert Shape.model_validate(shape.model_dump(mode="json")) == shape


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"delay": "10"}, "--delay: 10 has no unit; write it like 10ms"),
        ({"bandwidth": "-1mbit"}, "--bandwidth: '-1mbit' must be above zero, like 10mbit"),
        ({"loss": "120%"}, "--loss: '120%' must be at most 100%, like 1%"),
        ({"loss": "{to_god: 1%}"}, "--loss: there is no such key here; did you mean `to_good`?"),
        ({"loss": "{to_good: 0%}"}, "--loss: `0.0` is wrong: input should be greater than 0"),
        ({"jitter": "{deviation: 1ms, correlation: 100%}"}, "--jitter: `1.0` is wrong: input should be less than 1"),
        ({"queue": "7"}, "--queue: 7 is no queue; write it in whole packets, bytes or time above zero"),
        ({"queue": "0ms"}, "--queue: '0ms' is no queue; write it in whole packets, bytes or time above zero"),
        ({"queue": "0packets"}, "--queue: '0packets' must be above zero"),
        ({"queue": "[1"}, "--queue: '[1' is not a YAML value"),
        ({"preset": "carrier-pigeon"}, "--preset: there is no preset 'carrier-pigeon'; known are ethernet"),
        ({"trace": "/nowhere"}, "--trace: there is no file /nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(written: dict[str, str], sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        read_shape(written)
    assert str(refused.value).startswith(sentence)


def test_bandwidth_and_trace_displace_each_other(tmp_path: Path) -> None:
    file = tmp_path / "recorded"
    file.write_text("5\n10\n")
    recorded, plain = Shape(trace=str(file)), read_shape({"bandwidth": "1mbit"})
    assert resolve_direction("up", plain, recorded) == Direction(trace=LinkTrace(str(file), (5, 10)))
    assert resolve_direction("up", recorded, plain) == Direction(bandwidth=1e6)
    assert resolve_direction("up", recorded).rate == 2 * FRAME * 8 / 0.010
    with pytest.raises(SpecError, match="exclude each other"):
        read_shape({"trace": str(file), "bandwidth": "1mbit"})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("1\nx3\n", "line 2: 'x3' is not a time in milliseconds"),
        ("5\n4\n", "line 2: 4 ms comes after 5 ms"),
        ("", "has no length"),
        ("0\n0\n", "has no length"),
        ("1\n99999999999999999999\n", "line 2: '99999999999999999999' is not a time"),
        ("1\n-2\n", "line 2: '-2' is not a time"),
    ],
)
def test_garbage_in_a_trace_is_named_with_its_line(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "trace"
    file.write_text(content)
    with pytest.raises(SpecError, match=sentence):
        read_shape({"trace": str(file)})


@pytest.mark.parametrize("over", presets())
@pytest.mark.parametrize("under", presets())
def test_a_preset_says_everything_so_that_any_can_be_laid_over_any(under: str, over: str) -> None:
    assert resolve_direction("up", Shape(preset=under), Shape(preset=over)) == resolve_direction(
        "up", Shape(preset=over)
    )


def test_what_a_link_says_itself_counts_more_than_its_preset() -> None:
    shape = TwoWayShape.model_validate({"preset": "lte", "delay": "7ms", "jitter": "1ms", "down": {"delay": "9ms"}})
    assert (resolve_direction("up", shape).delay, resolve_direction("down", shape).delay) == pytest.approx(
        (0.007, 0.009)
    )
    assert resolve_direction("up", shape).bandwidth == resolve_direction("up", Shape(preset="lte")).bandwidth


def test_the_usual_queue_holds_twice_what_is_on_its_way_and_no_less_than_linux_holds() -> None:
    assert Direction(bandwidth=1e6, delay=0.01).room == Queue(packets=1000)
    assert Direction(bandwidth=1e9, delay=0.1).room.packets == pytest.approx(2 * 1e9 * 0.1 / 8 / FRAME, abs=1)
    assert Direction(delay=1.0).room == Queue(packets=1000)


def test_the_mean_loss_of_a_channel() -> None:
    assert Loss(in_good=0.02).mean == 0.02
    assert Loss(to_bad=0.01, to_good=0.04, in_bad=0.5).mean == pytest.approx(0.1)
