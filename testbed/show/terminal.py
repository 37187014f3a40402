"""Tables of one run, of the host and of models for the terminal."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from testbed.analysis.faults import FaultRecord
from testbed.analysis.measurements import Measurements, Metrics
from testbed.analysis.metrics.groups import GroupAccuracy
from testbed.analysis.nodes import DeviceSpeed
from testbed.analysis.queues.figures import QueueFigures
from testbed.analysis.recorded import RunFiles, host_of
from testbed.analysis.summary import Summary
from testbed.analysis.verdict.exits import outcome
from testbed.analysis.verdict.fidelity import Fidelity
from testbed.analysis.verdict.judgement import Judgement
from testbed.core.units import SIZE, readable
from testbed.host.doctor import Finding
from testbed.host.hardware import Part
from testbed.schema.network.device import Profile
from testbed.show.report.page import REPORT

VERDICT_STYLES = {"passed": "bold green", "failed": "bold red", "invalid": "bold yellow", "interrupted": "bold yellow"}
FIDELITY_STYLES = {
    "valid": "green",
    "distorted": "yellow",
    "invalid": "bold yellow",
    "unmeasured": "dim",
    "simulated": "cyan",
}


def print_summary(summary: Summary, console: Console, verbose: bool = False) -> None:
    """Print the verdict, first and last, its reasons, and the numbers of a run; with ``verbose``, all of them."""
    console.print(_verdict(summary))
    for judgement in summary.judgements:
        console.print(Text(f"  {'✓' if judgement.held else '✗'} {judgement}", "green" if judgement.held else "red"))
    for reason in (*summary.broken, *summary.regressions):
        console.print(Text(f"  ✗ {reason}", "red"))
    _print_fidelity(summary.fidelity, console)
    for fault in summary.faults:
        console.print(_fault(fault))
    for name, speed in summary.speeds.items() if verbose else ():
        console.print(_speed(name, speed, summary.nodes[name].get("writing_rate")))
    for line in _unanswered(summary.measurements.failures):
        console.print(Text(f"  {line}", "red"))
    for reason, count in Counter(summary.measurements.unjudged.values()).items() if not summary.synthetic else ():
        console.print(Text(f"  answers without a score: {count} ({reason})", "yellow"))
    for name, reason in summary.measurements.failed_metrics.items():
        console.print(Text(f"  metric {name} has no value: {reason}", "yellow"))
    if summary.synthetic:
        console.print(Text(f"  random weights in {', '.join(summary.synthetic)}: no answer is judged", "yellow"))
    details = _details(summary.accuracy_interval, summary.measurements)
    console.print(_metrics(summary.metrics, summary.unit, details, verbose), _nodes(summary.nodes))
    for line in _accuracies(summary.accuracy_by):
        console.print(Text(f"  {line}", "dim"), soft_wrap=True)
    if summary.queues and verbose:
        console.print(_queues(summary.queues))
    elif growing := [name for name, queue in summary.queues.items() if queue.verdict == "unstable"]:
        console.print(Text(f"  queues that grew while prompts arrived: {', '.join(growing)}", "bold red"))
    if verbose:
        stages = "  ".join(f"{name} {stage.seconds:.1f} s" for name, stage in summary.stages.items())
        console.print(Text(f"  {stages}", "dim"))
    console.print(Text(f"  {summary.directory / REPORT}", "dim"), soft_wrap=True)
    console.print(_verdict(summary))


def print_recorded(run: RunFiles, console: Console, verbose: bool = False) -> None:
    """Print what the files of a run say of it, as it was said when the run ended."""
    told, traits = run.summary, run.traits
    judgements = [Judgement(**one) for one in told["expectations"]]
    ended = outcome(told["verdict"], bool(judgements) or told["baseline"] is not None)
    on = f" on {host}" if (host := host_of(run.manifest)) else ""
    about = f"  run {told['run']}, seed {run.manifest['seed']}, played {run.manifest['play_began'][:16]}{on}"
    console.print(
        Text.assemble((told["scenario"], "bold"), " ", (ended, VERDICT_STYLES[told["verdict"]]), (about, "dim"))
    )
    for judgement in judgements:
        console.print(Text(f"  {'✓' if judgement.held else '✗'} {judgement}", "green" if judgement.held else "red"))
    said = {str(judgement) for judgement in judgements} | set(told["fidelity"]["reasons"])
    for reason in (reason for reason in told["reasons"] if reason not in said):
        console.print(Text(f"  ✗ {reason}", "red"))
    _print_fidelity(Fidelity.of(told["fidelity"]), console)
    for fault in run.faults:
        console.print(_fault(fault))
    for line in _unanswered(told["failures"]):
        console.print(Text(f"  {line}", "red"))
    metrics = {name: told["metrics"][name] for name in traits if name in told["metrics"]}
    details = _details(told["metrics"]["accuracy.interval"], run.measured)
    unit = {name: one.unit for name, one in traits.items()}.__getitem__
    console.print(_metrics(metrics, unit, details, verbose), _nodes(told["nodes"]))
    groups = told["accuracy_by"].items()
    for line in _accuracies({name: {k: GroupAccuracy(**v) for k, v in group.items()} for name, group in groups}):
        console.print(Text(f"  {line}", "dim"), soft_wrap=True)
    console.print(Text(f"  {run.path / REPORT}", "dim"), soft_wrap=True)


def _verdict(summary: Summary) -> Text:
    dilation = summary.scenario.dilation
    slower = "" if dilation == 1 else f"  in virtual time, {dilation:g} times slower than the host's"
    unanswered = bool(summary.measurements.failures) and summary.outcome != summary.verdict
    verdict = (summary.outcome, "bold yellow" if unanswered else VERDICT_STYLES[summary.verdict])
    return Text.assemble((summary.scenario.name, "bold"), " ", verdict, (slower, "dim"))


def _unanswered(failures: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each reason why prompts have no answer, the most frequent reason first."""
    for reason, count in Counter(failures.values()).most_common():
        first, *others = (prompt for prompt, told in failures.items() if told == reason)
        named = f"{first} has" if not others else f"{count} prompts ({first}, {others[0]}{', …' * (count > 2)}) have"
        yield f"{named} no answer: {reason}"


def print_kept(run: str, node: str, socket: Path, link: str | None, console: Console) -> None:
    """Print commands that work on a run that was kept, for one of its nodes and links."""
    request = '{"messages": [{"role": "user", "content": "What is 2 plus 3?"}]}'
    console.print(
        Text.assemble("kept as ", (run, "bold"), "; to ask a node, look into it, change a link, remove it all:")
    )
    for command in (
        f"curl --unix-socket {socket} http://{node}/v1/chat/completions --json '{request}'",
        f"testbed shell {node} --run {run}",
        *([] if link is None else [f"testbed link {run} {link} --delay 80ms"]),
        f"testbed clean {run}",
    ):
        console.print(f"  {command}", markup=False, soft_wrap=True)


def _print_fidelity(fidelity: Fidelity, console: Console) -> None:
    """Print the verdict on the emulation, and a line for each flaw."""
    style = FIDELITY_STYLES[fidelity.verdict]
    known = [f"{len(fidelity.links)} links measured"] if fidelity.links else []
    known += [f"host {fidelity.host['idle']:.0%} idle"] if fidelity.host else []
    detail = f" ({', '.join(known)})" if known else ""
    what = "" if fidelity.verdict == "simulated" else "emulation "
    console.print(Text.assemble(f"  {what}", (fidelity.verdict, style), (detail, "dim")))
    for reason in fidelity.reasons:
        console.print(Text(f"    {reason}", style))


def _fault(fault: FaultRecord) -> Text:
    """The times of a fault. One that never happened fails no run, but is marked: it is hardly what the user meant."""
    what = f"  {fault.name} ({fault.subject})"
    if fault.failure is not None:
        return Text(f"{what} failed", "bold yellow")  # why is among the reasons of the fidelity
    if fault.began is None:
        return Text(f"{what} never happened: play was over before it came to {fault.awaited}", "bold yellow")
    until = "" if fault.ended is None else f" to {fault.ended:.2f} s"
    return Text(f"{what} {'from' if until else 'at'} {fault.began:.2f} s{until}", "dim")


def _speed(name: str, speed: DeviceSpeed, measured: float | None) -> Text:
    """The asked and measured speed of a node that is emulated as a device."""
    wrote = "wrote nothing" if measured is None else f"wrote {measured:.4g} tokens/s"
    what = f"  {name} ({speed.profile}) {wrote}, asked {speed.asked:.4g}"
    return Text(f"{what}: {speed.cpus:.3g} of a core that writes {speed.host:.4g}", "dim")


_SAID_BY_OTHERS: Final = frozenset(
    (
        *("prompts", "itl.mean", "tokens_read", "tokens_written", "ttft.p50", "ttft.p99"),
        *("tpot.p50", "tpot.p95", "tpot.p99", "calls.ttft.mean", "calls.ttft.p50", "calls.ttft.p95", "calls.ttft.p99"),
    )
)
"""Metrics that the table leaves out, because others are close to them."""


def _metrics(metrics: Metrics, unit: Callable[[str], str], details: Mapping[str, str], verbose: bool) -> Table:
    """The metrics; those that are 0, or that others say as well, with ``verbose`` alone."""
    table = Table("metric", "value", box=None, padding=(0, 2, 0, 2), header_style="dim")
    for name, value in metrics.items():
        if verbose or (value not in (0, None) and name not in _SAID_BY_OTHERS):
            said = "–" if value is None else readable(value, unit(name))
            table.add_row(name, said + details.get(name, ""))
    return table


def _details(accuracy: Sequence[float] | None, measured: Measurements) -> dict[str, str]:
    """What stands behind metrics: the 95 % interval of the ``accuracy``, and the counts of prompts."""
    interval = "  (95 % interval: {:.3g} to {:.3g} %)".format(*(100 * end for end in accuracy)) if accuracy else ""
    return {"accuracy": interval, "completed": f"  ({len(measured.answers)} of {len(measured.prompts)} prompts)"}


def _accuracies(groups: Mapping[str, Mapping[str, GroupAccuracy]]) -> Iterator[str]:
    """The accuracy of each label, and of each scorer, where there are several."""
    for group, accuracies in groups.items():
        if len(accuracies) > 1:
            said = (f"{name} {readable(one.mean, '%')} of {one.judged}" for name, one in accuracies.items())
            yield f"accuracy by {group}: {', '.join(said)}"


def _nodes(nodes: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table("node", "state", "inferences", "queue mean", "max", "memory peak", box=None, padding=(0, 2, 0, 2))
    table.header_style = "dim"
    for name in sorted(nodes, key=_natural):
        node = nodes[name]
        peak, queue = node["memory"]["peak"], node["queue"]
        held = "–" if peak is None else readable(peak, "B")
        table.add_row(name, node["state"], str(node["inferences"]), f"{queue['mean']:.2f}", str(queue["max"]), held)
    return table


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts n2 before n10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _queues(queues: Mapping[str, QueueFigures]) -> Table:
    """Each queue until the last prompt came, beside theory. Above saturation there is no expected mean."""
    headings = ("queue of", "load", "theorem", "mean", "expected", "growth per second", "")
    table = Table(*headings, box=None, padding=(0, 1, 0, 2), header_style="dim")
    for name, queue in queues.items():
        table.add_row(
            name,
            _two_digits(queue.utilisation),
            _two_digits(queue.theorem),
            _two_digits(queue.mean_under_load),
            _two_digits(queue.model),
            "–" if queue.trend is None else "{:+.2g} to {:+.2g}".format(*queue.trend.interval),
            Text(queue.verdict or "", "bold red" if queue.verdict == "unstable" else "green"),
        )
    return table


def _two_digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def print_findings(findings: Iterable[Finding], console: Console) -> None:
    """Print a line for each check, and the command that mends what failed."""
    for finding in findings:
        mark = ("✗", "red") if finding.problem else ("✓", "green")
        console.print(Text.assemble(mark, f" {finding.subject}: {finding.problem or finding.state}"))
        if finding.problem:
            console.print(f"    to mend it: {finding.mend}", markup=False)


def print_hardware(parts: Iterable[Part], console: Console) -> None:
    """Print a line for each part, and below it what it could be used for."""
    for part in parts:
        mark = ("✓", "green") if part.use else ("✗", "dim")
        console.print(Text.assemble(mark, f" {part.sort} ", (part.name, "bold"), f": {part.detail}"), soft_wrap=True)
        if part.use:
            console.print(f"    for {part.use}", markup=False, soft_wrap=True)


def print_profiles(profiles: Mapping[str, Profile], console: Console) -> None:
    """Print a line for each device, and the sources of the numbers."""
    table = Table("device", "cores", "memory", "tokens/s", "with", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name, profile in profiles.items():
        model = f"{profile.model} ({SIZE.readable(profile.weights)})"
        memory, speed = SIZE.readable(profile.memory), f"{profile.tokens_per_second:g}"
        table.add_row(Text(name, "bold"), str(profile.cores), memory, speed, model)
    console.print(table)
    for name, profile in profiles.items():
        console.print(Text(f"{name}: {profile.source}", "dim"))
