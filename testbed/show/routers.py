"""Routers for people: what they are worth on prompts, as tables."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from testbed.analysis.routing.evaluation import OffPolicyEstimate, RouterEvaluation


def print_evaluation(evaluation: RouterEvaluation, console: Console) -> None:
    """Print the measures of a router and of what it is compared with, and the router at several thresholds."""
    console.print(
        f"{evaluation.prompts} prompts: the weak stage is right on {evaluation.weak:.1%}, the strong one on "
        f"{evaluation.strong:.1%}, either on {evaluation.either:.1%}"
    )
    measures = Table("prompts go strong by", "APGR", "CPT(50 %)", "CPT(80 %)")
    for one in evaluation.measures:
        measures.add_row(one.name, _decimal(one.apgr), _share(one.cpt50), _share(one.cpt80))
    console.print(measures)
    operations = Table("share asked", "threshold", "share of strong calls", "right")
    for point in evaluation.operations:
        figures = (f"{point.threshold:.4f}", f"{point.strong_share:.1%}", f"{point.accuracy:.1%}")
        operations.add_row(f"{point.share:.0%}", *figures)
    console.print(operations)


def print_estimates(estimates: Sequence[OffPolicyEstimate], console: Console) -> None:
    """Print what a router would have scored on prompts that another rule played."""
    table = Table(
        "share asked", "threshold", "share of strong calls", "prompts with the same choice", "right, by SNIPS"
    )
    for one in estimates:
        right = "–" if one.accuracy is None else f"{one.accuracy:.1%} ± {one.error:.1%}"
        table.add_row(f"{one.share:.0%}", f"{one.threshold:.4f}", f"{one.strong_share:.1%}", str(one.matching), right)
    console.print(table)


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
