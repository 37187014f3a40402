"""Time dilation: a clock that goes slower, links in slow motion, and the factor that a host needs."""

import ast
import asyncio
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest

from testbed.core.clock import REAL_TIME, Clock
from testbed.core.errors import HostError, SpecError
from testbed.host import capacity
from testbed.host.capacity import fitting_dilation, settle_dilation, threads
from testbed.host.devices import Device
from testbed.host.namespace import Namespace
from testbed.record.directory import RunDirectory
from testbed.record.event_log import RunEvents
from testbed.schema.network.direction import Direction, Jitter, Loss, Queue
from testbed.schema.network.link import DirectionName, Link
from testbed.schema.network.link_trace import LinkTrace
from testbed.schema.scenario import load_scenario
from testbed.world.network.links.backend import LINK_BACKENDS, End, Health, LinkBackend, Wiring
from testbed.world.network.links.running import EVENTS, RunningLinks

PROJECT = Path(__file__).parents[2] / "testbed"


def test_the_clock_of_a_loop_is_the_runs() -> None:
    clock = Clock(1000.0)

    async def read() -> tuple[float, float, float]:
        return clock.now(), asyncio.get_running_loop().time(), clock.now()

    before, between, after = clock.run(read())
    assert before <= between <= after
    assert time.monotonic() / 1000 - after < 1


def test_all_that_waits_waits_longer() -> None:
    async def wait() -> None:
        await asyncio.sleep(0.002)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.002):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.002)

    begin = time.monotonic()
    Clock(10).run(wait())
    assert time.monotonic() - begin >= 10 * 3 * 0.002


def test_what_is_due_in_a_year_can_be_waited_for() -> None:
    """The kernel takes no time of more than 24 days, which a slow clock turns a few hours into."""

    async def wait() -> None:
        loop = asyncio.get_running_loop()
        far = loop.call_later(365 * 24 * 3600, loop.stop)
        await asyncio.to_thread(time.sleep, 0.01)  # nothing else is due meanwhile
        far.cancel()

    Clock(100).run(wait())


def test_an_interrupt_ends_a_dilated_loop_as_any_other() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Clock(2).run(interrupted())


@pytest.mark.parametrize(
    "source",
    [
        *sorted(
            path
            for folder in ("node", "patterns", "faults")
            for path in PROJECT.glob(f"{folder}/**/*.py")
            if path.name != "speed.py"  # a program of its own, before play
        ),
        *(
            PROJECT / name
            for name in ("run/playing/player.py", "world/nodes/client.py", "world/network/links/running.py")
        ),
        *(PROJECT / name for name in ("record/recording.py", "analysis/events.py", "record/samples.py")),
    ],
    ids=lambda path: str(path.relative_to(PROJECT)),
)
def test_whatever_takes_part_in_play_reads_no_clock_but_the_runs(source: Path) -> None:
    # They ask for a date, for the CPU time of a thread, and for a number that grows on every host alike.
    no_clock = {"date.py", "sampler.py", "slowness.py", "signing.py"}
    imported = {
        name.name.split(".")[0]
        for statement in ast.walk(ast.parse(source.read_text()))
        if isinstance(statement, ast.Import)
        for name in statement.names
    }
    assert "time" not in imported or source.name in no_clock


def test_events_of_the_host_lie_on_the_clock_of_the_nodes(tmp_path: Path) -> None:
    clock = Clock(50)
    log = RunEvents(tmp_path / "none", clock)
    before = clock.now()
    log.emit("prompt")
    assert before <= log.events[0]["t"] <= clock.now()


# Which properties of a link have time in their unit, and what becomes of them where it runs four times slower. Whoever
# adds one says here what becomes of it.
DILATED: Mapping[type, Mapping[str, tuple[Any, Any]]] = {
    Direction: {
        "bandwidth": (8e6, 2e6),
        "delay": (0.5, 2.0),
        "jitter": (Jitter(distribution="uniform"), Jitter(distribution="uniform")),
        "queue": (Queue(seconds=0.3), Queue(seconds=1.2)),
        "trace": (LinkTrace("recorded", (0, 5, 10)), LinkTrace("recorded", (0, 20, 40))),
        "loss": (Loss(in_good=0.5), Loss(in_good=0.5)),
        "duplicate": (0.1, 0.1),
        "reorder": (0.1, 0.1),
        "corrupt": (0.1, 0.1),
        "cut": (True, True),
    },
    Jitter: {"deviation": (0.1, 0.4), "distribution": ("pareto", "pareto"), "correlation": (0.5, 0.5)},
    Queue: {"packets": (7, 7), "bytes": (9, 9), "seconds": (0.3, 1.2)},
}


WITH: Mapping[type, Callable[[Any], Direction]] = {
    Direction: lambda direction: direction,
    Jitter: lambda jitter: Direction(delay=1.0, jitter=jitter),
    Queue: lambda queue: Direction(queue=queue),
}


@pytest.mark.parametrize("kind", DILATED, ids=lambda kind: kind.__name__)
def test_every_property_of_a_link_is_dilated_or_has_no_time_in_it(kind: type) -> None:
    assert DILATED[kind].keys() == {one.name for one in fields(kind)}
    for name, (asked, dilated) in DILATED[kind].items():
        direction = WITH[kind](kind(**{name: asked}))
        assert direction.dilated(4) == replace(WITH[kind](kind(**{name: dilated})), delay=direction.delay * 4)


def test_a_link_that_is_made_slower_and_faster_again_is_the_same() -> None:
    draw = random.Random(5)
    for _ in range(200):
        directions = [
            Direction(
                bandwidth=draw.choice([None, draw.uniform(1e3, 1e9)]),
                delay=draw.uniform(1, 2),
                jitter=Jitter(draw.uniform(0, 1), draw.choice(["normal", "pareto"])),
                queue=draw.choice([None, Queue(packets=3), Queue(seconds=draw.uniform(0, 1))]),
                trace=LinkTrace("recorded", tuple(sorted(draw.sample(range(1000), 5)))),
            )
            for _ in range(2)
        ]
        link = Link("a", "b", *directions)
        assert link.dilated(8).dilated(1 / 8) == link
        assert link.dilated(1) == link


@dataclass
class NotedLinks:
    """A backend's links that note what they are told to be."""

    told: list[Wiring] = field(default_factory=list)

    def connect(self, wiring: Wiring) -> None:
        self.told.append(wiring)

    def shape(self, wiring: Wiring, directions: Collection[DirectionName]) -> None:
        assert directions == ["up"]
        self.told.append(wiring)

    def moved(self, wiring: Wiring, _: End) -> None:
        self.told.append(wiring)

    def health(self, _: Sequence[Wiring]) -> Health:
        return Health(lateness=0.008)


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[NotedLinks, RunningLinks]:
    links = NotedLinks()
    backend = LinkBackend("kernel", lambda: None, lambda _: None, lambda *_: None, lambda *_: links, lambda _: links)
    monkeypatch.setitem(LINK_BACKENDS._loaded, "kernel", backend)
    monkeypatch.setattr(Namespace, "counters", lambda _: {})
    running = RunningLinks.begin(backend, None, tmp_path, seed=1, clock=Clock(4))  # type: ignore[arg-type]
    direction = Direction(bandwidth=8e6, delay=0.010)
    running.connect(Link("a", "b", direction, direction), *(End("eth0", Namespace(tmp_path / name)) for name in "ab"))
    running.publish()
    return links, running


def test_a_link_is_made_and_changed_slower_and_is_known_as_it_was_asked(
    noted: tuple[NotedLinks, RunningLinks], tmp_path: Path
) -> None:
    made, running = noted
    RunningLinks.attach(tmp_path).change("a-b", {"up": {"delay": 0.025}})
    running.moved(Namespace(tmp_path / "a"))
    assert [(wiring.link.up.delay, wiring.link.up.bandwidth) for wiring in made.told] == [
        (0.040, 2e6),
        (0.100, 2e6),
        (0.100, 2e6),
    ]
    assert running.find("a-b").link.up == Direction(bandwidth=8e6, delay=0.025)
    assert running.health().lateness == 0.002
    log = RunEvents(tmp_path / EVENTS, REAL_TIME)
    log.catch_up()
    (event,) = log.events
    assert event["up"] == {"delay": 0.025}
    assert event["t"] <= Clock(4).now()


@pytest.mark.parametrize(
    ("shares", "cores", "factor"),
    [
        ([0.3] * 4, 2, 1.0),
        ([0.8, 0.8], 2, 1.0),  # a fifth is left
        ([1.0, 1.0], 2, 1.3),  # 2 ÷ 1.6 = 1.25
        ([1.0] * 8, 2, 5.0),
        ([4.0, 0.1], 4, 4.0),  # to 3.2 cores it would fit at 1.3, where the first has three cores and some
        ([3.0], 4, 1.0),
        ([0.01], 1, 1.0),
    ],
)
def test_time_runs_as_slowly_as_the_nodes_need(shares: list[float], cores: int, factor: float) -> None:
    assert fitting_dilation([Device(share, 0) for share in shares], cores) == factor


@pytest.mark.parametrize(("cores", "count"), [(0.05, 1), (1.0, 1), (1.9, 1), (2.0, 2)])
def test_a_node_computes_with_its_whole_cores(cores: float, count: int) -> None:
    assert threads(cores) == count


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "host_cpus", lambda: 2)


@pytest.mark.usefixtures("two_cores")
class TestOnTwoCores:
    """What becomes of scenarios there."""

    def test_too_much_cpu_is_refused_with_what_would_help(self, files: Any) -> None:
        with pytest.raises(HostError) as refusal:
            settle_dilation(files.load(), {"a": Device(4.0, 0), "b": Device(4.0, 0)})
        assert str(refusal.value) == (
            "the nodes ask for 8 CPUs and this host has 2; let time run slower (`dilation: auto`, which is 5 here), "
            "lower their `cpus`, or set `oversubscribe: true` and have it noted in the result"
        )

    def test_too_little_dilation_is_refused_as_well(self, files: Any) -> None:
        with pytest.raises(HostError, match=r"ask for 8 CPUs, 4 of this host's at a dilation of 2, and this host has"):
            settle_dilation(files.load("dilation=2"), {"a": Device(4.0, 0), "b": Device(4.0, 0)})

    def test_enough_dilation_is_taken_as_it_is(self, files: Any) -> None:
        assert settle_dilation(files.load("dilation=4"), {"a": Device(4.0, 0), "b": Device(4.0, 0)}) == 4
        assert settle_dilation(files.load("dilation=3"), {"a": Device(0.1, 0)}) == 3

    def test_twenty_tenths_are_no_more_than_two(self, files: Any) -> None:
        assert settle_dilation(files.load(), {str(node): Device(0.1, 0) for node in range(20)}) == 1

    def test_auto_is_settled(self, files: Any) -> None:
        assert settle_dilation(files.load("dilation=auto"), {"a": Device(4.0, 0), "b": Device(4.0, 0)}) == 5
        assert settle_dilation(files.load("dilation=auto"), {"a": Device(0.5, 0)}) == 1

    def test_oversubscribed_it_may_be_on_request(self, files: Any) -> None:
        assert settle_dilation(files.load("oversubscribe=true"), {"a": Device(64.0, 0)}) == 1

    def test_a_share_that_no_kernel_gives_is_refused(self, files: Any) -> None:
        with pytest.raises(HostError, match=r"node 'a' would have 0.0005 of a core of this host"):
            settle_dilation(files.load("dilation=100"), {"a": Device(0.05, 0)})


def test_a_scenario_is_not_dilated_unless_it_says_so(files: Any) -> None:
    assert files.load().dilation == 1
    assert files.load("dilation=4").dilation == 4
    assert files.load("dilation=auto").dilation == "auto"


@pytest.mark.parametrize("written", ["0.5", "-4", "0", "101", "true", "fast", ".inf", ".nan", "4s", "[4]"])
def test_what_is_no_dilation_is_refused(files: Any, written: str) -> None:
    with pytest.raises(SpecError, match="is no dilation; write a number from 1 to 100, or auto"):
        files.load(f"dilation={written}")


def test_a_resolved_scenario_has_its_dilation_as_a_number(files: Any, tmp_path: Path) -> None:
    settled = files.load("dilation=auto").model_copy(update={"dilation": 2.5})
    again = load_scenario(RunDirectory.create(settled, tmp_path / "run").path / "scenario.yaml")
    assert again == settled
