"""The verdicts of runs as JUnit XML, which CI systems read."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from testbed.analysis.summary import Summary


def write_junit(summaries: Sequence[Summary], path: Path) -> None:
    """Write a test suite for each run: a case for each expectation, and one for what holds of every run.

    Class name and name identify a case, also in the next run of the same scenarios.
    """
    suites = ElementTree.Element("testsuites")
    classes = _distinct(f"{summary.scenario.name}.seed-{summary.scenario.seed}" for summary in summaries)
    for summary, name in zip(summaries, classes, strict=True):
        _add_suite(suites, summary, name)
    ElementTree.indent(suites)
    ElementTree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def _distinct(names: Iterable[str]) -> Iterator[str]:
    """The names, each with a number from its second occurrence on."""
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name} #{seen[name]}"


def _add_suite(suites: ElementTree.Element, summary: Summary, class_name: str) -> None:
    cases = [(judgement.subject, None if judgement.held else str(judgement)) for judgement in summary.judgements]
    cases.append(("invariants", "\n".join(summary.broken) or None))
    if summary.comparison is not None:
        cases.append(("baseline", "\n".join(summary.regressions) or None))
    cases.append(("emulation", "\n".join(summary.fidelity.reasons) if summary.fidelity.verdict == "invalid" else None))
    if summary.interrupted:
        cases.append(("interrupted", "the run did not play to its end"))
    failures = sum(message is not None for _, message in cases)
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        name=summary.scenario.name,
        tests=str(len(cases)),
        failures=str(failures),
        time=f"{sum(stage.seconds for stage in summary.stages.values()):.3f}",
    )
    names = _distinct(name for name, _ in cases)
    for name, (_, message) in zip(names, cases, strict=True):
        case = ElementTree.SubElement(suite, "testcase", classname=class_name, name=name)
        if message is not None:
            ElementTree.SubElement(case, "failure", message=message)
