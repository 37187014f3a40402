"""The table and the verdicts as Markdown."""

from collections.abc import Iterator, Sequence

from link_table.grid import Cell
from link_table.quantities import LOSS, QUANTITIES, Quantity
from link_table.results import CellResult, Store
from link_table.verdict import judge


def report(store: Store) -> str:
    """The whole report."""
    sections = [
        "# Links: asked and measured",
        "\n".join(_hosts(store)),
        "## Verdict",
        "\n".join(_verdicts(store)),
        "## Cells",
        "RTT in ms, TCP's rate in Mbit/s, loss in %; ✗: farther from what is asked than is allowed.",
        "\n".join(_table(store)),
        "\n".join(_troubles(store)),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _hosts(store: Store) -> Iterator[str]:
    for host in store.hosts:
        yield f"- {host.begin}: Linux {host.kernel}, {host.cpus} CPUs, commit {host.commit}"


def _verdicts(store: Store) -> Iterator[str]:
    yield _row("links", "asked", "measured", "")
    yield _row("---", "---", "---", "---")
    for verdict in judge(store):
        yield _row(verdict.contender, verdict.criterion, verdict.measured, "held" if verdict.held else "**missed**")


def _table(store: Store) -> Iterator[str]:
    contenders = list(dict.fromkeys(contender for contender, _ in store.cells))
    heads = ["Mbit/s", "delay", "loss", *(head for quantity in QUANTITIES for head in _heads(quantity, contenders))]
    yield _row(*heads)
    yield _row(*("---:" for _ in heads))
    for cell in sorted({cell for _, cell in store.cells}):
        results = [store.cells.get((contender, cell)) for contender in contenders]
        link = (f"{cell.bandwidth / 1e6:g}", f"{cell.delay * 1e3:g}", f"{cell.loss * 1e2:g}")
        yield _row(*link, *(entry for quantity in QUANTITIES for entry in _entries(quantity, cell, results)))


def _heads(quantity: Quantity, contenders: Sequence[str]) -> list[str]:
    """The heads of columns: what is asked, then each contender. The loss asked has a column before these."""
    asked = [] if quantity is LOSS else [quantity.name]
    return asked + [f"{quantity.name}, {contender}" for contender in contenders]


def _entries(quantity: Quantity, cell: Cell, results: Sequence[CellResult | None]) -> list[str]:
    entries = [_entry(quantity, result) for result in results]
    asked = f"{quantity.asked(cell) * quantity.scale:.2f}" if any(entries) else ""
    return entries if quantity is LOSS else [asked, *entries]


def _entry(quantity: Quantity, result: CellResult | None) -> str:
    if result is None or (value := quantity.value(result)) is None:
        return ""
    return f"{value * quantity.scale:.2f}{'' if quantity.held(result) else ' ✗'}"


def _troubles(store: Store) -> Iterator[str]:
    for (contender, cell), result in store.cells.items():
        if result.trouble:
            yield f"- {contender}, {cell}: {result.trouble}"


def _row(*entries: str) -> str:
    return f"| {' | '.join(entries)} |"
