"""Tables of several runs for the terminal: repetitions, sweeps, and two sets side by side."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from testbed.analysis.comparison.changes import Comparison
from testbed.analysis.comparison.settings import Difference
from testbed.analysis.comparison.tradeoff import quality_measures
from testbed.analysis.comparison.visits import UNSTABLE, UTILISATION, Visited, scattered
from testbed.analysis.summary import Summary
from testbed.core.units import readable, with_margin
from testbed.schema.metric import unit_of
from testbed.schema.scenario import Scenario
from testbed.show.terminal import FIDELITY_STYLES, VERDICT_STYLES

_SWEPT: Final = ("accuracy", "latency.mean", "queue.mean")
"""The metrics of a sweep that are shown; its files have all."""

_DIFFERENCES: Final = 12
"""How many keys that differ between two scenarios are shown."""

_CHANGE_STYLES: Final = {
    "better": "green",
    "worse": "bold red",
    "different": "yellow",
    "no difference found": "",
    "not tested": "dim",
}


def print_repetitions(summaries: Sequence[Summary], console: Console) -> None:
    """Print a line for each run, the reasons of failures, and the metrics over all runs."""
    passed = sum(summary.verdict == "passed" for summary in summaries)
    console.print(Text.assemble((summaries[0].scenario.name, "bold"), f" {passed} of {len(summaries)} runs passed"))
    for summary in summaries:
        emulation = summary.fidelity.verdict
        console.print(
            Text.assemble(
                f"  seed {summary.scenario.seed}  ",
                (summary.verdict, VERDICT_STYLES[summary.verdict]),
                "  emulation ",
                (emulation, FIDELITY_STYLES[emulation]),
                (f"  {summary.directory}", "dim"),
            ),
            soft_wrap=True,
        )
        for reason in summary.reasons:
            console.print(Text(f"    ✗ {reason}", "red"))
    console.print(_metrics(summaries))


def _metrics(summaries: Sequence[Summary]) -> Table:
    table = _table("metric", "mean", "deviation", "least", "most")
    for metric in summaries[0].metrics:
        values = [value for summary in summaries if (value := summary.metrics[metric]) is not None]
        if not values:
            table.add_row(metric, *"––––")
            continue
        held_in = summaries[0].unit(metric)
        spread = readable(stdev(values), held_in) if len(values) > 1 else "–"
        table.add_row(
            metric,
            readable(fmean(values), held_in),
            spread,
            readable(min(values), held_in),
            readable(max(values), held_in),
        )
    return table


def print_kinds(rows: Sequence[tuple[str, str, str, str]], console: Console) -> None:
    """What can be named: noun, name, what it is, and which package it comes from; a heading for each noun."""
    table = Table(box=None, padding=(0, 1, 0, 2), show_header=False)
    for style in ("", "", "dim"):
        table.add_column(style=style, overflow="fold")
    before = ""
    for noun, name, summary, origin in rows:
        if noun != before:
            table.add_row(Text(noun, "bold"))
        table.add_row(f"  {name}", escape(summary), origin)
        before = noun
    console.print(table)


def print_sweep(visited: Sequence[Visited], console: Console) -> None:
    """Print a line for each point, and the reasons of runs that did not pass."""
    keys = list(dict.fromkeys(key for visit in visited for key in visit.point.texts))
    table = Table(box=None, padding=(0, 0, 0, 2), header_style="dim")
    for heading in (*keys, *_SWEPT, "load", ""):
        table.add_column(heading, justify="right")
    for visit in visited:
        values = (visit.point.texts.get(key, "–") for key in keys)
        table.add_row(*values, *(_estimate(visit, metric) for metric in _SWEPT), _load(visit), _mark(visit))
    console.print(table)
    for name, value in quality_measures(visited).items():
        console.print(f"{name}: {value:.3f}")
    _print_notes(visited, console)


def _estimate(visit: Visited, metric: str) -> str:
    """The mean with its margin, and in brackets below it the published value."""
    estimate, published = visit.estimates.get(metric), visit.point.published_values.get(metric)
    unit = unit_of(metric)
    said = "–" if estimate is None else with_margin(estimate.mean, estimate.margin, unit)
    return said if published is None else f"{said}\n({readable(published, unit)})"


def _mark(visit: Visited) -> Text:
    distorted = sum(outcome.distorted for outcome in visit.outcomes)
    return Text(f"distorted {distorted} of {len(visit.outcomes)}" if distorted else "", "yellow")


def _load(visit: Visited) -> Text:
    """The load of the busiest node, and the number of queues that grew."""
    load, unstable = visit.estimates.get(UTILISATION), visit.estimates.get(UNSTABLE)
    if load is None:
        return Text("–")
    if unstable is None or not unstable.mean:
        return Text(f"{load.mean:.2f}")
    return Text(f"{load.mean:.2f}, {unstable.mean:.2g} grow", "bold red")


def _print_notes(visited: Sequence[Visited], console: Console) -> None:
    notes = ["±: 95 % interval", "load: of the busiest node"]
    notes += ["in brackets: published"] if any(visit.point.published for visit in visited) else []
    console.print(Text("  " + "; ".join(notes), "dim"))
    for sentence in scattered(visited):
        console.print(Text(f"  {sentence}", "yellow"))
    wrong: defaultdict[str, list[str]] = defaultdict(list)
    for visit in visited:
        for outcome in visit.outcomes:
            if outcome.verdict != "passed":
                why = f"{outcome.verdict}: {'; '.join(outcome.reasons)}"
                wrong[why].append(f"{visit.point.name}, seed {outcome.seed}")
    for why, runs in wrong.items():
        others = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        console.print(Text(f"  {runs[0]}{others}: {why}", "red"), soft_wrap=True)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the metrics side by side, and the runs that they come from."""
    style = "bold red" if comparison.regressions else ""
    console.print(Text.assemble((comparison.scenario, "bold"), "  ", (comparison.found, style)))
    _print_differences(comparison.differences, console)
    table = _table("metric", "base", "new", "change", "")
    known = [change for change in comparison.changes if not (change.base is None and change.new is None)]
    for change in known:
        values = ["–" if value is None else readable(value, change.traits.unit) for value in (change.base, change.new)]
        table.add_row(change.metric, *values, change.extent, Text(change.judged, _CHANGE_STYLES[change.verdict]))
    console.print(table)
    if absent := len(comparison.changes) - len(known):
        console.print(Text(f"  {absent} metrics have no value on either side", "dim"))
    runs = f"{len(comparison.base)} and {len(comparison.new)} runs"
    console.print(Text(f"  {runs}, {comparison.pairing}; resampled: {comparison.resampled}", "dim"))
    if comparison.apart:
        console.print(Text(f"  {comparison.apart}: a difference of the hosts looks like a change", "yellow"))
    for name, side in (("base", comparison.base), ("new", comparison.new)):
        distorted = sum(run.fidelity == "distorted" for run in side)
        if distorted:
            console.print(
                Text(f"  {distorted} {name} runs are distorted: times are compared over five runs or more", "yellow")
            )


def _print_differences(differences: Sequence[Difference], console: Console) -> None:
    """What the sides say differently, key by key."""
    if not differences:
        console.print(Text("  both sides play the same: no key of the scenarios differs", "dim"))
        return
    console.print(Text("  what differs between the scenarios:"))
    for difference in differences[:_DIFFERENCES]:
        console.print(Text(f"    {difference}", "bold"), soft_wrap=True)
    if (left := len(differences) - _DIFFERENCES) > 0:
        console.print(Text(f"    and {left} keys more, which --json lists", "dim"))


def print_standing(runs: Sequence[tuple[str, str, str, str, str]], console: Console) -> None:
    """Print a line for each standing run: its id, its state and since when, its nodes, and its directory."""
    if not runs:
        console.print("no run stands on this host")
        return
    table = Table("run", "state", "since", "nodes", "directory", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for run, *facts in runs:
        table.add_row(Text(run, "bold"), *facts)
    console.print(table)


def print_breach(broken: Sequence[str], smallest: Scenario, path: Path, console: Console) -> None:
    """Print the broken invariants, and the smallest timeline that breaks them, whose scenario file is at ``path``."""
    console.print(Text.assemble((smallest.name, "bold"), " ", ("broken", "bold red"), f", seed {smallest.seed}, by"))
    for entry in smallest.timeline:
        console.print(Text(f"  {entry.sentence}"))
    if not smallest.timeline:
        console.print("  no fault at all")
    for sentence in broken:
        console.print(Text(f"  ✗ {sentence}", "red"))
    console.print(Text(f"to play it again: testbed run {path}", "dim"), soft_wrap=True)


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 2), header_style="dim")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("metric", "") else "right")
    return table
