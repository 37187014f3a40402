"""The criteria for rings, and whether measurements meet them."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

from pipeline_table.law import LawCell
from pipeline_table.memory import fit
from pipeline_table.results import Results
from pipeline_table.rpc import DELAY, SAMPLES, RpcResult
from pipeline_table.schedules import NODES, SLOW, ScheduleResult
from pipeline_table.standing import CPUS

NEAR: Final = 0.1  # largest relative deviation from the law
TIMES_RPC: Final = {1: 1.6, 8: 4.5, 16: 7.0}
"""The least speed-up over llama.cpp's RPC backend, by number of samples."""


@dataclass(frozen=True)
class Verdict:
    """A criterion and whether it is ``held``."""

    criterion: str
    asked: str
    measured: str
    held: bool


def judge(results: Results) -> Iterator[Verdict]:
    """The verdicts on all measurements."""
    if results.law:
        yield _near_law(results.law)
    if results.schedules:
        yield from _schedules(results)
    if results.schedules and results.rpc:
        yield from _beside_rpc(results)
    if results.memory:
        yield from _memory(results)
    for hop in results.hops:
        asked = f"{hop.row} of the row, and at most 64"
        measured = f"{hop.frame:.1f} more, {hop.headers:.0f} of packets' headers; {hop.same:.1%} of tokens as in `f32`"
        yield Verdict(f"bytes a hop and token, `{hop.activations}`", asked, measured, hop.frame <= 64)
    if results.kills:
        same = sum(kill.identical for kill in results.kills)
        hit = sum(kill.again > 0 for kill in results.kills)
        measured = f"{same} of {len(results.kills)} identical; {hit} lost samples in flight"
        yield Verdict("kills at random tokens", "all answers identical", measured, same == len(results.kills))


def _near_law(cells: list[LawCell]) -> Verdict:
    near = sum(abs(cell.ratio - 1) <= NEAR for cell in cells)
    ratios = sorted(cell.ratio for cell in cells)
    measured = f"{near} of {len(cells)} cells; {ratios[0]:.2f} to {ratios[-1]:.2f} times, median {median(ratios):.2f}"
    return Verdict("throughput", "within 10 % of the law", measured, near == len(cells))


def _schedules(results: Results) -> Iterator[Verdict]:
    rates = {(one.name, one.cpus, one.delay): one.rate for one in results.schedules}
    for delay in (0.0, DELAY):
        ratio = rates["microbatch", CPUS, delay] / rates["recurrent", CPUS, delay]
        yield Verdict(f"`microbatch` at {delay * 1e3:g} ms", "2 × `recurrent`", f"{ratio:.2f} ×", ratio >= 2)
    for cpus in (SLOW, CPUS):
        ratio = rates["recurrent", cpus, 0.0] / rates["sequential", cpus, 0.0]
        asked = f"0.9 × {NODES} × `sequential`"
        yield Verdict(f"`recurrent` at 0 ms, nodes of {cpus:g} CPUs", asked, f"{ratio:.2f} ×", ratio >= 0.9 * NODES)


def best_of_rpc(results: Results, samples: int) -> RpcResult:
    """Tokens per second of the RPC backend with its best settings."""
    return max((one for one in results.rpc if one.samples == samples), key=lambda one: one.rate)


def best_of_ring(results: Results, samples: int) -> ScheduleResult:
    """Tokens per second of the ring with the best schedule, on the links that the RPC backend had."""
    here = (one for one in results.schedules if (one.samples, one.delay, one.cpus) == (samples, DELAY, CPUS))
    return max(here, key=lambda one: one.rate)


def _beside_rpc(results: Results) -> Iterator[Verdict]:
    pairs = {samples: (best_of_ring(results, samples), best_of_rpc(results, samples)) for samples in SAMPLES}
    for samples, (ring, rpc) in pairs.items():
        measured = f"{ring.rate:.1f} ({ring.name}) against {rpc.rate:.1f} tokens/s: {ring.rate / rpc.rate:.2f} ×"
        asked = TIMES_RPC[samples]
        yield Verdict(f"beside RPC, {samples} samples", f"{asked:g} ×", measured, ring.rate >= asked * rpc.rate)
    for samples, (ring, rpc) in pairs.items():
        measured = f"{ring.bytes_per_token / 1e3:.1f} against {rpc.bytes_per_token / 1e3:.1f} kB"
        fewer = ring.bytes_per_token < rpc.bytes_per_token
        yield Verdict(f"bytes a token, {samples} samples", "fewer than RPC's", measured, fewer)
    ready, theirs = max(ring.ready for ring, _ in pairs.values()), min(rpc.ready for _, rpc in pairs.values())
    measured = f"{ready:.1f} against {theirs:.1f} s"
    yield Verdict("ready", "in a tenth of RPC's time", measured, ready <= theirs / 10)


def _memory(results: Results) -> Iterator[Verdict]:
    found = fit(results.memory)
    measured = (
        f"R² {found.r_squared:.3f}: {found.base / 1e6:.0f} MB + {found.layer / 1e6:.2f} MB a layer + "
        f"{found.cached:.0f} B a layer, sample and token"
    )
    yield Verdict("memory of a node", "R² of at least 0.95", measured, found.r_squared >= 0.95)
    yield Verdict("its base", "below 120 MB", f"{found.base / 1e6:.0f} MB", found.base < 120e6)
