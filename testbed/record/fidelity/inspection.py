"""The inspection of the emulation in every run: links before and after play, host and links during play."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict
from typing import Final

from testbed.analysis.verdict.fidelity import Fidelity, Flaw, Mode
from testbed.record.fidelity.links import Seen, as_figures, judge_links
from testbed.record.recording import Recording
from testbed.world.network.links.backend import Health
from testbed.world.network.probe import FULL, QUICK, Effort, measure
from testbed.world.world import World

EFFORTS: Final[Mapping[Mode, Effort | None]] = {"off": None, "quick": QUICK, "full": FULL}
"""The effort of measuring links by mode."""

# The relay of the userspace backend was late by at most 4 ms on an idle host, and by at most 9 ms beside busy loops,
# when single frames waited for another process on the core. Twice that is a flaw.
_LATEST: Final = 0.020  # seconds

_MOST_CLOCK_ERROR: Final = 0.001  # seconds; delays of links are given in milliseconds


class Inspection:
    """The inspection of one run."""

    def __init__(self, world: World, mode: Mode) -> None:
        self._world = world
        self._mode = mode
        self._effort = EFFORTS[mode]
        self._before: Seen | None = None
        self._after: Seen = {}
        self._health: Health | None = None
        self._flaws: list[Flaw] = []

    def before_play(self) -> None:
        """Measure the links. To be called once they are ready, and before traffic is counted."""
        self._before = self._measure()
        self._world.links.health()  # resets the counters, so that measuring is not part of play

    def after_play(self) -> None:
        """Measure the links again, unless they failed."""
        if not self._world.evenly_capped():
            self._flaws.append(Flaw("distorted", "the metronome ended, so nodes had their CPU in lumps"))
        self._health = self._world.links.health()
        if self._health.failure is None:
            self._after = self._measure() or {}

    def _measure(self) -> Seen | None:
        if self._effort is None:
            return None
        try:
            return measure(self._world.links.current(), self._effort, self._world.clock)
        except OSError as error:  # an interface that is gone
            self._flaws.append(Flaw("invalid", f"the links cannot be measured: {error}"))
            return None

    def judge(self, recording: Recording) -> Fidelity:
        """The fidelity from the inspection so far, and from what was recorded of nodes, faults and host."""
        health, host = self._health or self._world.links.health(), recording.host_load
        links = self._world.plan.scenario.topology.resolved_links
        idle = {link.name for link in links if not recording.ended.isdisjoint((link.a, link.b))}
        flaws = [*self._flaws, *_health_flaws(health, idle)]
        flaws += (Flaw("invalid", reason) for reason in recording.failed_faults)
        if self._world.plan.oversubscribed:
            flaws.append(Flaw("distorted", "the nodes may use more CPU together than the host has"))
        flaws += _clock_flaws(self._world)
        if self._effort is None:
            return Fidelity(self._mode, flaws)
        flaws += judge_links(self._before or {}, "before play")
        flaws += judge_links(self._after, "after play")
        flaws += host.flaws() if host else ()
        return Fidelity(
            self._mode,
            flaws,
            links=None if self._before is None else as_figures(self._before, self._after),
            host=None if host is None else {**asdict(host), "throttled": recording.throttled},
            health=asdict(health),
        )


def _clock_flaws(world: World) -> Iterator[Flaw]:
    for name, node in world.nodes.items():
        if (error := node.clock_offset.error) > _MOST_CLOCK_ERROR:
            yield Flaw("distorted", f"times of node {name} may be off by {error * 1e3:.2g} ms, by its clock")


def _health_flaws(health: Health, idle: Set[str]) -> Iterator[Flaw]:
    """The flaws that the link backend noted. Links in ``idle`` lost frames because a node at one end had exited."""
    if health.failure is not None:
        yield Flaw("invalid", health.failure)
    if health.lateness is not None and health.lateness > _LATEST:
        yield Flaw("distorted", f"a frame left its link {health.lateness * 1e3:.1f} ms late during play")
    for link, frames in health.lost.items():
        if frames and link not in idle:
            yield Flaw("distorted", f"link {link} lost {frames} frames during play that nothing asked it to lose")
