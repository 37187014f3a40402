"""Simulations: the virtual clock, nodes and links against theory, patterns' own code, and equality with the replay."""

import asyncio
import random
from collections import defaultdict
from statistics import fmean

import pytest
from stated import PROJECT, Delays, Stated, gossip, measured

from testbed.analysis.measurements import Measurements
from testbed.analysis.queues.figures import mean_queue
from testbed.analysis.queues.replay import courses_of, latencies, link_delays, no_delay
from testbed.analysis.verdict.costs import wrong_costs
from testbed.analysis.verdict.invariants import broken_invariants
from testbed.core.errors import SpecError
from testbed.run.simulating import on_topology
from testbed.schema.network.topology import Topology
from testbed.schema.scenario import load_scenario
from testbed.simulation.calibration import Calibration
from testbed.simulation.loop import StandstillError, VirtualLoop
from testbed.simulation.network import LinkNetwork
from testbed.simulation.simulation import Course, simulate
from testbed.topologies.generate import generate
from testbed.workload.prompts.base import Question
from testbed.workload.schedule import Arrival


def started(run: Measurements) -> dict[str, float]:
    return {job.name: job.ended - job.started for job in run.jobs if job.ended and job.started is not None}


@pytest.mark.parametrize(("layers", "proposers"), [(0, 0), (1, 3), (2, 2), (3, 1)])
@pytest.mark.parametrize("network", ["none", "delays"])
def test_with_recorded_times_it_is_the_replay_exactly(layers: int, proposers: int, network: str) -> None:
    """The run has links with a bandwidth and nodes that need time for messages; its replay has neither."""
    scenario = gossip(layers, proposers)
    draw = random.Random(layers)
    real = Stated(lambda: draw.gammavariate(4, 0.02), legs={"local": 0.001, "request": 0.004, "response": 0.003})
    run = measured(simulate(scenario, real, LinkNetwork(scenario.topology)))
    delay = no_delay if network == "none" else link_delays(scenario.topology)
    arrivals = [
        Arrival(run.arrivals[name], event["owner"], name, Question(event["text"], event["truth"]))
        for name, event in run.prompts.items()
    ]
    course = simulate(scenario, Stated(services=started(run)), Delays(delay), arrivals)
    replayed = latencies(courses_of(run), delay)
    assert len(replayed) == 100
    assert {name: arrival.at for name, arrival in ((one.prompt, one) for one in arrivals)} == run.arrivals
    ends = {name: event["t"] for name, event in measured(course).answers.items()}
    assert {name: ends[name] - run.arrivals[name] for name in ends} == replayed
    assert fmean(run.latencies.values()) > fmean(course.latencies.values())


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_a_node_alone_is_the_queue_of_theory(load: float) -> None:
    """Exponential services of 1 s at four independent nodes, against ρ/(1−ρ) by Kleinrock and against M/G/1."""
    draw = random.Random(1)
    scenario = gossip(0, 0, f"{load}/s", 6_000)
    course = simulate(scenario, Stated(lambda: draw.expovariate(1)), Delays(no_delay), record=False)
    assert course.queue == pytest.approx(load / (1 - load), rel=0.2)
    services = [draw.expovariate(1) for _ in range(5_000)]
    assert course.queue == pytest.approx(mean_queue(load, [], services), rel=0.22)
    assert fmean(course.loads.values()) == pytest.approx(load, rel=0.06)
    assert course.latency == pytest.approx(1 / (1 - load), rel=0.2)


def test_a_message_takes_its_turn_on_every_link() -> None:
    """1,000 bytes and 0.8 ms at 10 Mbit/s, 10 ms of delay, two links; the second one waits for the first."""
    network = LinkNetwork(gossip().topology, overhead=250)
    assert network.carry("a", "b", 750, 5.0) == pytest.approx(5 + 2 * 0.0108)
    assert network.carry("a", "c", 750, 5.0) == pytest.approx(5 + 0.0008 + 2 * 0.0108)
    assert network.idle("a", "b", 750) == pytest.approx(2 * 0.0108)
    assert network.traffic()["a-s1"] == {"up": 2000, "down": 0}
    assert network.traffic()["b-s1"] == {"up": 0, "down": 1000}


@pytest.mark.parametrize("recipe", ["geometric:nodes=25,radius=0.3,seed=4", "scale-free:nodes=25,links=2,seed=4"])
def test_messages_take_the_routes_of_packets(recipe: str) -> None:
    topology = on_topology(gossip(), recipe).topology
    network = LinkNetwork(topology)
    for source in topology.nodes:
        for target in topology.neighbours(source):
            expected = [link.delay for link in (link.up for link in topology.route(source, target))]
            assert network.idle(source, target, 0) == pytest.approx(sum(expected))
            assert len(network.path(source, target)) == len(expected) or "scale" not in recipe


@pytest.mark.parametrize("said", ["loss: 1%", "jitter: 1ms, delay: 5ms", "duplicate: 1%"])
def test_a_link_that_cannot_be_simulated_is_refused_by_name(said: str) -> None:
    topology = Topology.model_validate(
        {
            "name": "t",
            "nodes": {name: {"model": "zoo/alpha", "cpus": 0.1, "memory": "64MiB"} for name in "ab"},
            "links": [{"endpoints": ["a", "b"], **dict(part.split(": ") for part in said.split(", "))}],
        }
    )
    with pytest.raises(SpecError, match=f"link a-b: `{said.partition(':')[0]}` is not simulated"):
        LinkNetwork(topology)


@pytest.mark.parametrize("name", ["gossip_moa", "vote", "debate", "cascade", "route", "hierarchy"])
def test_patterns_run_as_they_are(name: str) -> None:
    """Every prompt is answered, costs what its pattern says, and no invariant breaks."""
    scenario = load_scenario(PROJECT / "scenarios" / f"{name}.yaml")
    source = Stated(legs={"local": 0.001, "request": 0.002, "response": 0.002})
    run = measured(simulate(scenario, source, LinkNetwork(scenario.topology)))
    assert len(run.answers) == scenario.workload.count
    assert not [*broken_invariants(run), *wrong_costs(run, scenario.calls)]


def test_what_a_pattern_asks_for_and_is_not_simulated_is_refused_by_name() -> None:
    scenario = load_scenario(PROJECT / "scenarios" / "speculative.yaml")
    with pytest.raises(SpecError, match=r"asks for .*, which is not simulated"):
        simulate(scenario, Stated(), LinkNetwork(scenario.topology))


@pytest.mark.parametrize(("overflow", "event"), [("reject", "rejected"), ("drop-oldest", "dropped")])
def test_a_full_queue_does_what_the_scenario_says(overflow: str, event: str) -> None:
    scenario = gossip(0, 0, "5/s", 60, **{"queue.limit": 2, "queue.overflow": overflow})
    course = simulate(scenario, Stated(lambda: 1.0), Delays(no_delay))
    run = measured(course)
    assert len(run.of(event)) == len(course.failures) > 10
    assert {*course.failures.values()} == {"the queue is full (2 jobs)"}
    assert max(length.max for length in run.queues().values()) == 2
    assert not broken_invariants(run)


def test_a_late_response_is_left_out_and_its_job_leaves_the_queue() -> None:
    """The layer waits 0.3 s for its neighbours: no second job of a queue is done by then."""
    scenario = gossip(1, 3, "3/s", 80, **{"pattern.timeout": "300ms"})
    run = measured(simulate(scenario, Stated(lambda: 0.2), LinkNetwork(scenario.topology)))
    assert len(run.answers) == 80
    late = run.of("ask_failed")
    assert late and {event["reason"] for event in late} == {"no answer within 0.3s"}
    assert run.of("cancelled") and not [*broken_invariants(run), *wrong_costs(run, scenario.calls)]


def test_a_closed_loop_hands_prompts_over_as_others_end() -> None:
    scenario = gossip(0, 0)
    arrivals = [Arrival(0.0, "a", "p1", Question("?", "Rome")), Arrival(0.5, "a", "p2", Question("?", "Rome"), "p1")]
    course = simulate(scenario, Stated(lambda: 2.0), Delays(no_delay), arrivals)
    assert measured(course).arrivals == {"p1": 0.0, "p2": 2.5}


def test_equal_seeds_give_equal_runs() -> None:
    def play(seed: int) -> Course:
        draw = random.Random(2)
        scenario = gossip(count=20, seed=seed)
        return simulate(scenario, Stated(lambda: draw.expovariate(5)), LinkNetwork(scenario.topology))

    assert play(1).events == play(1).events != play(2).events


def test_a_calibration_finds_the_times_that_a_run_was_made_of() -> None:
    scenario = gossip(1, 2, "0.5/s", 60)
    services: defaultdict[str, list[float]] = defaultdict(list)
    draw = random.Random(3)

    def one() -> float:
        services["all"].append(draw.uniform(0.1, 0.2))
        return services["all"][-1]

    legs = {"local": 0.003, "request": 0.008, "response": 0.005}
    run = measured(simulate(scenario, Stated(one, legs=legs), LinkNetwork(scenario.topology, overhead=296)))
    calibration = Calibration()
    calibration.add(run, scenario.topology)
    found = sorted(seconds for all_ in calibration.services.values() for seconds in all_)
    assert found == pytest.approx(sorted(services["all"]))
    assert {(kind.role, kind.reads) for kind, _, _ in calibration.services} == {("answer", 0), ("aggregation", 3)}
    assert {kind.device for kind in calibration.cases} == {
        f"{n.model} on 0.3 CPUs" for n in scenario.topology.agents.values()
    }
    for (name, _, busy), seconds in calibration.legs.items():
        if not busy:  # a request waits for those before it on the owner's link as well
            assert min(seconds) == pytest.approx(legs[name], abs=1e-9)
    assert calibration.handling == pytest.approx(0.005, abs=0.0005)
    assert {size for (part, _), sizes in calibration.sizes.items() for size in sizes if part == "request"} == {1000}
    assert calibration.inference == pytest.approx(fmean(services["all"]))


def test_the_clock_jumps_and_simultaneous_timers_keep_their_order() -> None:
    async def main() -> list[tuple[float, str]]:
        loop, seen = asyncio.get_running_loop(), list[tuple[float, str]]()
        for name, after in (("late", 2e9), ("first", 1.5), ("second", 1.5)):
            loop.call_later(after, lambda name=name: seen.append((loop.time(), name)))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.25):
                await asyncio.sleep(1000)
        seen.append((loop.time(), "timeout"))
        await asyncio.sleep(3e9)
        return seen

    assert VirtualLoop().run(main()) == [(0.25, "timeout"), (1.5, "first"), (1.5, "second"), (2e9, "late")]


def test_a_simulation_that_waits_for_nothing_ends_with_an_error() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(StandstillError):
        VirtualLoop().run(main())


def test_a_scale_free_topology_has_a_few_devices_with_very_many_links() -> None:
    draft = generate("scale-free:nodes=1000,links=3,seed=5")
    degrees: defaultdict[str, int] = defaultdict(int)
    for link in draft.links:
        degrees[link.a] += 1
        degrees[link.b] += 1
    assert len({frozenset((link.a, link.b)) for link in draft.links}) == len(draft.links) == 3 * 997
    assert min(degrees.values()) == 3 and max(degrees.values()) > 60
    above = sum(degree >= 12 for degree in degrees.values()) / 1000  # P(K ≥ k) = m(m+1)/(k(k+1)), Bollobás et al. 2001
    assert above == pytest.approx(3 * 4 / (12 * 13), rel=0.35)
    assert draft.links == generate("scale-free:nodes=1000,links=3,seed=5").links
    assert draft.links != generate("scale-free:nodes=1000,links=3,seed=6").links
