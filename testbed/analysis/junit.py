"""The verdicts of runs as JUnit XML, which CI systems read."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from testbed.analysis.summary import Summary


def write_junit(summaries: Sequence[Summary], path: Path) -> None:
    """Write a test suite for each run: a case for each expectation, and one for what holds of every run."""
    suites = ElementTree.Element("testsuites")
    for summary in summaries:
        _add_suite(suites, summary)
    ElementTree.indent(suites)
    ElementTree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def _add_suite(suites: ElementTree.Element, summary: Summary) -> None:
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
    for name, message in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=summary.scenario.name, name=name)
        if message is not None:
            ElementTree.SubElement(case, "failure", message=message)
