"""Metrics of serving, by the names that benchmarks of servers use. docs/results.md defines them.

No event is written for single tokens: the mean of the gaps between tokens follows from the first and the last one.
"""

from collections.abc import Callable
from statistics import fmean

from testbed.analysis.distributions import percentile
from testbed.analysis.measurements import Part
from testbed.analysis.spans import JobSpan
from testbed.schema.metric import Metric, metric


def _first_tokens(part: Part) -> list[float]:
    """Time from a prompt's arrival at its owner to the first token of the call that wrote its answer."""
    return [seconds for prompt in part.answered if (seconds := _ttft(part, prompt)) is not None]


def _calls_first_tokens(part: Part) -> list[float]:
    """Time from a call's arrival in a node's queue to its first token."""
    return [call.first_token - call.enqueued for call in _calls(part) if call.first_token is not None]


def _times_per_token(part: Part) -> list[float]:
    """Time per output token of a call: from its first to its last one, divided by the tokens after the first."""
    return [seconds for call in _calls(part) if (seconds := _tpot(call)) is not None]


def _mean(values: Callable[[Part], list[float]], rank: int) -> Metric:
    def mean(part: Part) -> float | None:
        found = values(part)
        return fmean(found) if found else None

    mean.__doc__ = f"Mean. {values.__doc__}"
    return metric("s", "lower", rank=rank)(mean)


def _percentile(values: Callable[[Part], list[float]], share: float, rank: int) -> Metric:
    def ranked(part: Part) -> float | None:
        return percentile(values(part), share)

    ranked.__doc__ = f"{100 * share:g}th percentile. {values.__doc__}"
    return metric("s", "lower", rank=rank)(ranked)


ttft_mean = _mean(_first_tokens, 20)
ttft_p50, ttft_p95, ttft_p99 = (_percentile(_first_tokens, share, 21) for share in (0.50, 0.95, 0.99))
call_ttft_mean = _mean(_calls_first_tokens, 22)
call_ttft_p50, call_ttft_p95, call_ttft_p99 = (
    _percentile(_calls_first_tokens, share, 23) for share in (0.50, 0.95, 0.99)
)
tpot_mean = _mean(_times_per_token, 24)
tpot_p50, tpot_p95, tpot_p99 = (_percentile(_times_per_token, share, 25) for share in (0.50, 0.95, 0.99))


@metric("s", "lower", rank=26)
def itl_mean(part: Part) -> float | None:
    """Mean inter-token latency: the gaps between successive tokens of all calls, each gap counted once."""
    written = [call for call in _calls(part) if _tpot(call) is not None]
    return sum(_writing(call) for call in written) / sum(call.gaps for call in written) if written else None


@metric("%", "higher", rank=27)
def slo_attainment(part: Part) -> float | None:
    """Share of prompts whose answers keep the scenario's ``slo``."""
    return len(_good(part)) / len(part.prompts) if part.run.slo and part.prompts else None


@metric("/s", "higher", rank=28)
def goodput(part: Part) -> float | None:
    """Prompts whose answers keep the scenario's ``slo``, per second of play."""
    return len(_good(part)) / part.seconds if part.run.slo and part.seconds else None


@metric("tokens", rank=29)
def tokens_read(part: Part) -> int:
    """Tokens of the chats that models read."""
    return sum(event["prompt_tokens"] for event in part.of("end"))


@metric("tokens", rank=29)
def tokens_written(part: Part) -> int:
    """Tokens that models wrote."""
    return sum(event["tokens"] for event in part.of("end"))


def _calls(part: Part) -> list[JobSpan]:
    """The calls that ended in the part."""
    ended = [(call.ended, call) for call in part.run.jobs if call.text is not None]
    return [call for end, call in ended if end is not None and part.scope.covers(end, call.node)]


def _ttft(part: Part, prompt: str) -> float | None:
    call = part.run.last_calls.get(prompt)
    return None if call is None or call.first_token is None else call.first_token - part.run.arrivals[prompt]


def _tpot(call: JobSpan) -> float | None:
    return _writing(call) / call.gaps if call.first_token is not None and call.gaps > 0 else None


def _writing(call: JobSpan) -> float:
    """Seconds from the first token of a call to its end."""
    assert call.first_token is not None and call.ended is not None
    return call.ended - call.first_token


def _good(part: Part) -> list[str]:
    """The prompts whose answers keep every objective."""
    slo, last = part.run.slo, part.run.last_calls
    if slo is None:
        return []
    return [
        prompt
        for prompt in part.answered
        if slo.kept(_ttft(part, prompt), _tpot(last[prompt]) if prompt in last else None, part.run.latencies[prompt])
    ]
