"""The table and the verdicts as Markdown, which is what is printed, too."""

from collections.abc import Iterator, Sequence

from link_table.grid import Cell
from link_table.results import CellResult, Store
from link_table.verdict import RATE_TOLERANCE, judge, loss_held, rate_error, round_trip_error, round_trip_tolerance

_MISSED = " ✗"


def report(store: Store) -> str:
    """Everything that is known, for people."""
    cells = sorted({cell for _, cell in store.cells})
    contenders = list(dict.fromkeys(contender for contender, _ in store.cells))
    sections = [
        "# Links: asked and measured",
        "\n".join(_hosts(store)),
        "## Verdict",
        "\n".join(_verdicts(store)),
        "## Cells",
        "RTT in ms, TCP's rate in Mbit/s, loss in per cent; ✗: outside of what is allowed.",
        "\n".join(_table(store, cells, contenders)),
        "\n".join(_troubles(store)),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _hosts(store: Store) -> Iterator[str]:
    for host in store.hosts:
        carried = f"a bare veth pair carries {host.tcp_rate / 1e9:.2f} Gbit/s"
        yield f"- {host.begin}: Linux {host.kernel}, {host.cpus} CPUs, commit {host.commit}; {carried}"


def _verdicts(store: Store) -> Iterator[str]:
    yield from _row("contender", "asked", "measured", "")
    yield from _row("---", "---", "---", "---")
    for verdict in judge(store):
        yield from _row(
            verdict.contender, verdict.criterion, verdict.measured, "held" if verdict.held else "**missed**"
        )


def _table(store: Store, cells: Sequence[Cell], contenders: Sequence[str]) -> Iterator[str]:
    columns = [[f"{quantity}, {contender}" for contender in contenders] for quantity in ("RTT", "TCP", "lost")]
    heads = ["Mbit/s", "delay", "loss", "RTT", *columns[0], "TCP", *columns[1], *columns[2]]
    yield from _row(*heads)
    yield from _row(*("---:" for _ in heads))
    for cell in cells:
        results = [store.cells.get((contender, cell)) for contender in contenders]
        yield from _row(
            f"{cell.bandwidth / 1e6:g}",
            f"{cell.delay * 1e3:g}",
            f"{cell.loss * 100:g}",
            f"{cell.round_trip * 1e3:.2f}",
            *map(_round_trip, results),
            f"{cell.tcp_rate / 1e6:.2f}" if not cell.loss else "",
            *map(_rate, results),
            *map(_loss, results),
        )


def _round_trip(result: CellResult | None) -> str:
    if not result or not result.round_trips:
        return ""
    missed = round_trip_error(result) > round_trip_tolerance(result.cell)
    return f"{result.round_trip * 1e3:.2f}{_MISSED * missed}"


def _rate(result: CellResult | None) -> str:
    if not result or not result.rates:
        return ""
    return f"{result.tcp_rate / 1e6:.2f}{_MISSED * (rate_error(result) > RATE_TOLERANCE)}"


def _loss(result: CellResult | None) -> str:
    if not result or not result.sent:
        return ""
    return f"{result.loss * 100:.2f}{_MISSED * (not loss_held(result))}"


def _troubles(store: Store) -> Iterator[str]:
    for (contender, cell), result in store.cells.items():
        if result.trouble:
            yield f"- {contender}, {cell}: {result.trouble}"


def _row(*cells: str) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"
