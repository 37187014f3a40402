"""The report as Markdown."""

from collections.abc import Iterator
from typing import Final

from pipeline_table.law import SAMPLES, LawCell
from pipeline_table.results import Results
from pipeline_table.rpc import DELAY
from pipeline_table.standing import CPUS
from pipeline_table.verdict import judge

_MDI: Final = (("17.9", "2.15"), ("25.9", "1.76"), ("30.3", "1.34–1.46"))
"""Tokens/s of NanoLlama 304M on 1, 2 and 3 Jetson TX2, and GB a device (arXiv 2505.18164)."""


def report(results: Results) -> str:
    """The whole report."""
    sections = (
        ["# A ring: asked and measured"],
        _hosts(results),
        ["## Verdict"],
        _verdicts(results),
        _law(results),
        _schedules(results),
        _mdi(results),
        _memory(results),
        _kills(results),
    )
    return "\n\n".join(filter(None, map("\n".join, sections))) + "\n"


def _hosts(results: Results) -> Iterator[str]:
    for part, host in results.hosts.items():
        yield f"- {part}: {host.begin}, {host.seconds:g} s, Linux {host.kernel}, {host.cpus} CPUs, commit {host.commit}"


def _verdicts(results: Results) -> Iterator[str]:
    yield from _head("ring", "asked", "measured", "")
    for verdict in judge(results):
        yield _row(verdict.criterion, verdict.asked, verdict.measured, "held" if verdict.held else "**missed**")


def _law(results: Results) -> Iterator[str]:
    if not results.law:
        return
    cells = {(cell.nodes, cell.delay, cell.samples): cell for cell in results.law}
    yield "## Tokens/s, and of what the law says\n"
    yield from _head("nodes", "delay", *(f"S = {samples}" for samples in SAMPLES), "slowest stage", "Σ(c + d) at S = 1")
    for nodes, delay in dict.fromkeys((cell.nodes, cell.delay) for cell in results.law):
        row = [cells[nodes, delay, samples] for samples in SAMPLES]
        slowest = f"{max(row[-1].stages) * 1e3:.1f} ms"
        around = f"{(sum(row[0].stages) + sum(row[0].links)) * 1e3:.1f} ms"
        yield _row(str(nodes), f"{delay * 1e3:g} ms", *map(_beside_law, row), slowest, around)


def _beside_law(cell: LawCell) -> str:
    return f"{cell.rate:.1f} ({cell.ratio:.2f})"


def _schedules(results: Results) -> Iterator[str]:
    if not (results.schedules or results.rpc):
        return
    yield "## Four nodes\n"
    yield from _head("", "samples", "delay", "CPUs", "tokens/s", "kB a token on all links", "seconds until ready")
    for one in results.schedules:
        figures = _figures(one.rate, one.bytes_per_token, one.ready)
        yield _row(one.name, str(one.samples), f"{one.delay * 1e3:g} ms", f"{one.cpus:g}", *figures)
    for other in results.rpc:
        figures = _figures(other.rate, other.bytes_per_token, other.ready)
        yield _row(f"RPC, {other.settings}", str(other.samples), f"{DELAY * 1e3:g} ms", f"{CPUS:g}", *figures)


def _figures(rate: float, size: float, ready: float) -> tuple[str, str, str]:
    return f"{rate:.1f}", f"{size / 1e3:.1f}", f"{ready:.1f}"


def _mdi(results: Results) -> Iterator[str]:
    rates = {cell.nodes: cell.rate for cell in results.law if cell.delay == 0 and cell.samples == _at_once(cell.nodes)}
    if not rates or not results.memory:
        return
    yield "## Beside MDI-LLM\n"
    yield from _head("nodes", "their tokens/s", "ours", "their GB a device", "our MB a node")
    for nodes, (theirs, memory) in enumerate(_MDI, 1):
        held = [one.resident / 1e6 for one in results.memory if one.nodes == nodes]
        times = f"{float(theirs) / float(_MDI[0][0]):.2f}", f"{rates[nodes] / rates[1]:.2f}"
        yield _row(
            str(nodes),
            f"{theirs} ({times[0]} ×)",
            f"{rates[nodes]:.1f} ({times[1]} ×)",
            memory,
            "–".join(sorted({f"{size:.0f}" for size in (min(held), max(held))})),
        )


def _at_once(nodes: int) -> int:
    """Samples, of those that were measured, for which no stage idles."""
    return min(samples for samples in SAMPLES if samples >= nodes)


def _memory(results: Results) -> Iterator[str]:
    if not results.memory:
        return
    yield "## Memory\n"
    yield from _head("nodes", "layers", "samples", "context", "MB resident", "MB of the cgroup")
    for one in results.memory:
        sizes = f"{one.resident / 1e6:.1f}", f"{one.cgroup / 1e6:.1f}"
        yield _row(*map(str, (one.nodes, one.layers, one.samples, one.context)), *sizes)


def _kills(results: Results) -> Iterator[str]:
    if not results.kills:
        return
    yield "## Kills\n"
    yield from _head("node", "after tokens", "samples that went round again", "answers")
    for kill in results.kills:
        answers = "identical" if kill.identical else "**others**"
        yield _row(kill.node, str(kill.tokens), str(kill.again), answers)


def _head(*cells: str) -> Iterator[str]:
    yield _row(*cells)
    yield _row(*["---"] * len(cells))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
