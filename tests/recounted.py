"""The numbers of a run's summary, counted a second time: from its events and samples alone, and in other ways.

Nothing of the testbed is used here. Where it follows a queue step by step, this adds up the stays of its jobs; where it
has a formula, this solves the equation that the formula solves.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
from ruamel.yaml import YAML

Event = dict[str, Any]
Stay = tuple[float, float, int, int]  # from when to when a job was in a queue, in seconds and in numbers of events


def recounted(directory: Path) -> dict[str, Any]:
    """What ``metrics``, ``nodes``, ``links``, ``failures`` and ``faults`` of ``summary.json`` should say."""
    events = [json.loads(line) for line in (directory / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    samples = pyarrow.parquet.read_table(directory / "samples.parquet").to_pylist()
    peaks: dict[str, int] = defaultdict(int)
    for row in samples:
        if row["node"]:
            peaks[row["node"]] = max(peaks[row["node"]], row["memory_peak"])
    stays, taken = _stays(events), _joules(events, samples)
    return {
        "metrics": {
            **_metrics(events, stays, peaks),
            **_tiers(events, _nodes(directory)),
            **_opinions(events),
            **_trust(events),
            **_serving(directory, events),
            **_energy(events, taken),
        },
        "nodes": {
            node: {**_node(events, node, stays[node], peaks[node]), "energy": {"joules": taken.get(node)}}
            for node in stays
        },
        "links": _links(events),
        "failures": {e["prompt"]: e["reason"] for kind in ("failed", "lost") for e in events if e["event"] == kind},
        "faults": {e["name"]: e["t"] for e in events if e["event"] == "fault_begin"},
    }


def _metrics(events: list[Event], stays: dict[str, list[Stay]], peaks: dict[str, int]) -> dict[str, Any]:
    count = Counter(event["event"] for event in events)
    prompts = {event["prompt"]: event for event in events if event["event"] == "prompt"}
    lost = [event["prompt"] for event in events if event["event"] == "lost"]
    answers = [event for event in events if event["event"] == "answer" and event["prompt"] not in lost]
    right = sum(event["text"].split(",")[0].strip() == prompts[event["prompt"]]["truth"] for event in answers)
    arrived = {event["prompt"]: event["t"] for event in events if event["event"] == "arrival"}
    latencies = sorted(event["t"] - arrived[event["prompt"]] for event in answers)
    seconds = max(event["t"] for event in events if event["node"])
    carried = sum(sum(directions.values()) for directions in _links(events).values())
    written = sum(event["tokens"] for event in events if event["event"] == "end")
    means = [_mean(of_node, seconds) for of_node in stays.values()]
    return {
        "accuracy": right / len(answers) if answers else None,
        "accuracy.interval": _score_interval(right, len(answers)),
        "completed": len(answers) / len(prompts),
        "prompts": count["prompt"],
        "inferences": count["end"],
        "latency.mean": sum(latencies) / len(latencies) if latencies else None,
        **{f"latency.p{share}": _rank(latencies, share) for share in (50, 95, 99)},
        "queue.mean": sum(means) / len(means),
        "queue.max": max(_longest(of_node) for of_node in stays.values()),
        "tokens_per_second": sum(event["tokens"] for event in events if event["event"] == "end") / seconds,
        "bytes_on_links": carried,
        "bytes_per_token": carried / written if written else None,
        "memory.peak": max(peaks.values()),
        **{
            name: count[event]
            for name, event in {
                "retries": "retry",
                "duplicates": "duplicate",
                "late": "late",
                "rejected": "rejected",
                "dropped": "dropped",
                "frames_rejected": "frame_rejected",
            }.items()
        },
        "capture.readable": None,
        "unauthenticated": sum(event["count"] for event in events if event["event"] == "unauthenticated"),
    }


def _joules(events: list[Event], samples: list[dict[str, Any]]) -> dict[str, float]:
    """By node with a sensor, what was read last before the end of play, and what follows it up to there."""
    end, read = max(event["t"] for event in events if event["node"]), defaultdict(list)
    for row in samples:
        if row.get("joules") is not None:
            read[row["node"]].append((row["t"], row["joules"]))
    taken = {}
    for node, readings in read.items():
        (t, there), *after = [readings[-1]] if readings[-1][0] <= end else _around(readings, end)
        rest = sum((joules - there) * (end - t) / (then - t) for then, joules in after)
        taken[node] = there + rest - next(joules for t, joules in readings if t >= 0)
    return taken


def _around(readings: list[tuple[float, float]], t: float) -> list[tuple[float, float]]:
    """The last reading until ``t``, and the first one behind it."""
    return [max(r for r in readings if r[0] <= t), min(r for r in readings if r[0] > t)]


def _energy(events: list[Event], taken: dict[str, float]) -> dict[str, Any]:
    lost = {event["prompt"] for event in events if event["event"] == "lost"}
    answers = [event for event in events if event["event"] == "answer" and event["prompt"] not in lost]
    written = sum(event["tokens"] for event in events if event["event"] == "end" and event["node"] in taken)
    total = sum(taken.values()) if taken else None
    return {
        "energy.joules": total,
        "energy.joules_per_prompt": total / len(answers) if total is not None and answers else None,
        "energy.joules_per_token": total / written if total is not None and written else None,
    }


def _nodes(directory: Path) -> dict[str, dict[str, Any]]:
    """What the topology says of each node."""
    nodes: dict[str, dict[str, Any]] = YAML(typ="safe").load(directory / "scenario.yaml")["topology"]["nodes"]
    return nodes


def _tiers(events: list[Event], nodes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Who was asked on other tiers, and what tokens and working seconds of each node come to, tier by tier."""
    owners = {event["prompt"]: event["owner"] for event in events if event["event"] == "prompt"}
    tier = {name: node.get("tier") for name, node in nodes.items()}
    asked = {(event["prompt"], event["node"]) for event in events if event["event"] == "enqueue" and "prompt" in event}
    away = {prompt for prompt, node in asked if prompt in owners and tier[node] != tier[owners[prompt]]}
    sums: dict[str, dict[str, float]] = {name: {} for name in nodes}
    for name, node in nodes.items():
        ends = [event for event in events if event["event"] == "end" and event["node"] == name]
        read, written = (sum(event[key] for event in ends) for key in ("prompt_tokens", "tokens"))
        sums[name]["tokens"] = read + written
        if "price" in node:
            sums[name]["cost"] = read / 1e6 * node["price"]["input"] + written / 1e6 * node["price"]["output"]
        if "power" in node:
            sums[name]["energy"] = float(node["power"].removesuffix("W")) * _working(events, name)
    found: dict[str, Any] = {"offload": len(away) / len(owners) if None not in tier.values() else None}
    for key in ("tokens", "cost", "energy"):
        for where in ("device", "edge", "cloud", None):
            parts = [sums[name][key] for name in nodes if where in (None, tier[name]) and key in sums[name]]
            found[f"{key}.{where}" if where else key] = sum(parts) if parts else None
    del found["tokens"]
    return found


def _serving(directory: Path, events: list[Event]) -> dict[str, Any]:
    """First tokens, gaps between tokens, and objectives; jobs by name, as far as no node was started again."""
    when: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(dict))
    for event in events:
        if "job" in event:
            when[event["job"]] |= {event["event"]: event["t"]}
            if event["event"] == "end":
                when[event["job"]]["drawn"] = event["tokens"] + int(event.get("stopped", False))
    jobs = {name: times for name, times in when.items() if "end" in times and "first_token" in times}
    writing = {n: job["end"] - job["first_token"] for n, job in jobs.items() if job["drawn"] > 1}
    each = {name: seconds / (jobs[name]["drawn"] - 1) for name, seconds in writing.items()}
    arrived = {event["prompt"]: event["t"] for event in events if event["event"] == "arrival"}
    lost = {event["prompt"] for event in events if event["event"] == "lost"}
    answered = {e["prompt"]: e["t"] for e in events if e["event"] == "answer" and e["prompt"] not in lost}
    last = {}
    for prompt, end in answered.items():
        own = [name for name, job in when.items() if name.startswith(f"{prompt}.") and job.get("end", math.inf) <= end]
        last[prompt] = max(own, key=lambda name: when[name]["end"], default="")
    firsts = {p: when[last[p]]["first_token"] - arrived[p] for p in answered if last[p] in jobs}
    ends = [event for event in events if event["event"] == "end"]
    found = {
        "itl.mean": sum(writing.values()) / sum(jobs[name]["drawn"] - 1 for name in writing) if writing else None,
        "tokens_read": sum(event["prompt_tokens"] for event in ends),
        "tokens_written": sum(event["tokens"] for event in ends),
    }
    values = {"ttft": list(firsts.values()), "tpot": list(each.values())}
    values["calls.ttft"] = [job["first_token"] - job["enqueue"] for job in jobs.values()]
    for name, seconds in values.items():
        found[f"{name}.mean"] = sum(seconds) / len(seconds) if seconds else None
        found |= {f"{name}.p{share}": _rank(sorted(seconds), share) for share in (50, 95, 99)}
    slo = YAML(typ="safe").load(directory / "scenario.yaml").get("slo")
    assert slo is None, "not counted a second time here"
    return {**found, "slo_attainment": None, "goodput": None}


def _working(events: list[Event], node: str) -> float:
    """The time between any two events in which the node had begun more jobs than it had ended."""
    end = max(event["t"] for event in events if event["node"])
    begun, seconds, last = set[str](), 0.0, 0.0
    for event in events:
        if node in (event["node"], event.get("who")):
            if begun and last < end:
                seconds += min(event["t"], end) - last
            last = event["t"]
            match event["event"]:
                case "start":
                    begun.add(event["job"])
                case "end" | "job_failed":
                    begun.discard(event["job"])
                case "exited" | "ready":
                    begun.clear()
    return seconds + (end - last if begun else 0.0)


def _opinions(events: list[Event]) -> dict[str, Any]:
    """What the answers of each prompt's calls agree on, and which of them were right, from their texts."""
    prompts = {event["prompt"]: event for event in events if event["event"] == "prompt"}
    calls = {event["job"]: event for event in events if event["event"] == "enqueue" and event.get("prompt") in prompts}
    instead = {event["job"]: event["text"] for event in events if event["event"] == "misbehaved"}
    said: dict[str, list[tuple[int, str, str]]] = defaultdict(list)  # by prompt, layers, nodes and what they said
    for event in events:
        if event["event"] == "end" and calls.get(event["job"], {}).get("role") in ("answer", "aggregation"):
            call, choice = calls[event["job"]], instead.get(event["job"], event["text"]).split(",")[0].strip()
            said[call["prompt"]].append((int(call["layer"]), event["node"], choice))
    said = {prompt: answers for prompt, answers in said.items() if len(answers) > 1}
    lost = {event["prompt"] for event in events if event["event"] == "lost"}
    ended = {e["prompt"]: e["text"].split(",")[0].strip() for e in events if e["event"] == "answer"}
    shares, found, changes = [], [], []
    for prompt, answers in said.items():
        truth, first = prompts[prompt]["truth"], [answer for answer in answers if answer[0] == min(answers)[0]]
        found.append(truth in [choice for *_, choice in answers])
        own = [choice for _, node, choice in first if node == prompts[prompt]["owner"]]
        if own and prompt in ended and prompt not in lost:
            changes.append((own[0] == truth, ended[prompt] == truth))
        if len(first) > 1:
            counts = Counter(choice for *_, choice in first)
            shares.append(max(counts.values()) / len(first))
    return {
        "agreement": sum(shares) / len(shares) if shares else None,
        "oracle": sum(found) / len(found) if found else None,
        "flips.right": changes.count((False, True)) / len(changes) if changes else None,
        "flips.wrong": changes.count((True, False)) / len(changes) if changes else None,
        "exposures": sum(left) if (left := [e["exposed"] for e in events if e["event"] == "disclosure"]) else None,
    }


def _trust(events: list[Event]) -> dict[str, Any]:
    """How often lies became answers, and how liars were excluded, prompt by prompt."""
    lost = {event["prompt"] for event in events if event["event"] == "lost"}
    ended = {e["prompt"]: e["text"] for e in events if e["event"] == "answer" and e["prompt"] not in lost}
    lies = [e for e in events if e["event"] == "misbehaved" and e["how"] == "lie" and "prompt" in e]
    won, fooled = Counter[bool](), {e["prompt"] for e in lies} & ended.keys()
    for prompt in fooled:
        decoys = [e["text"].split(",")[0].strip() for e in lies if e["prompt"] == prompt]
        won[ended[prompt].split(",")[0].strip() in decoys] += 1
    out = [(e["t"], e["prompt"], node) for e in events if e["event"] == "excluded" for node in e["nodes"]]
    liars = {e["node"] for e in lies}
    met = [node in liars for _, _, node in out]
    learns = any(e["event"] in ("check", "excluded") for e in events)
    told = {(e["prompt"], e["node"]) for e in lies}
    waits, counts = [], []
    for liar in sorted(liars):
        begin = min(e["t"] for e in lies if e["node"] == liar)
        for end in [t for t, _, node in out if node == liar and t >= begin][:1]:
            waits.append(end - begin)
            counts.append(sum(e["event"] == "prompt" and begin <= e["t"] <= end for e in events))
    forgeries = [e["taken"] for e in events if e["event"] == "forged"]
    foreign = [e["taken"] for e in events if e["event"] == "foreign_model"]
    all_out = liars and len(waits) == len(liars)
    return {
        "forged": sum(forgeries) / len(forgeries) if forgeries else None,
        "foreign_models": sum(foreign) / len(foreign) if foreign else None,
        "asr": won[True] / won.total() if won else None,
        "exclusion.precision": sum(met) / len(met) if met else None,
        "exclusion.recall": sum((p, n) in told for _, p, n in out) / len(told) if learns and told else None,
        "exclusion.time": max(waits) if all_out else None,
        "exclusion.prompts": max(counts) if all_out else None,
    }


def _node(events: list[Event], node: str, stays: list[Stay], peak: int) -> dict[str, Any]:
    mine = [event for event in events if event["node"] == node]
    ends = [event for event in mine if event["event"] == "end"]
    seconds = max(event["t"] for event in events if event["node"])
    begun = {event["job"]: event["t"] for event in mine if event["event"] == "start"}
    first = {event["job"]: event["t"] for event in mine if event["event"] == "first_token"}
    written = [
        (end["tokens"] + end["stopped"] - 1, end["t"] - first[end["job"]]) for end in ends if end["job"] in first
    ]
    tokens, took = sum(count for count, _ in written), sum(time for _, time in written)
    last = next(e for e in reversed(events) if e["event"] in ("exited", "ready") and node in (e["node"], e.get("who")))
    return {
        "state": last["reason"] if last["event"] == "exited" else "running",
        "inferences": len(ends),
        "tokens": sum(end["tokens"] for end in ends),
        "busy_seconds": sum(end["t"] - begun[end["job"]] for end in ends),
        "writing_rate": tokens / took if tokens > 0 and took > 0 else None,
        "queue": {"mean": _mean(stays, seconds), "max": _longest(stays), **_while_prompts_came(events, stays, ends)},
        "memory": {"peak": peak},
    }


def _while_prompts_came(events: list[Event], stays: list[Stay], ends: list[Event]) -> dict[str, Any]:
    """How long that was, and how fast the queue grew, of a hundred jobs or more: what was in it then, by that time."""
    seconds = max(event["t"] for event in events if event["event"] == "prompt")
    done = {event["job"] for event in ends}
    came = [e for e in events if e["event"] == "enqueue" and e["job"] in done and e["t"] <= seconds]
    left = sum(begin <= seconds < end for begin, end, *_ in stays)
    return {"seconds": seconds, "slope": left / seconds if len(came) >= 100 else None}


def _stays(events: list[Event]) -> dict[str, list[Stay]]:
    """The stays of all jobs in the queue of each node; what nothing ended lasts until the end of the run."""
    end = max(event["t"] for event in events if event["node"])
    stays: dict[str, list[Stay]] = {event["node"]: [] for event in events if event["node"]}
    for index, event in enumerate(events):
        if event["event"] == "enqueue":
            later = ((number, other) for number, other in enumerate(events[index:], index) if _ends_stay(other, event))
            number, left = next(later, (len(events), {"t": end}))
            stays[event["node"]].append((event["t"], left["t"], index, number))
    return stays


def _ends_stay(event: Event, enqueue: Event) -> bool:
    if event["event"] in ("end", "job_failed", "dropped"):
        return bool(event["job"] == enqueue["job"] and event["node"] == enqueue["node"])
    return event["event"] in ("exited", "ready") and enqueue["node"] in (event["node"], event.get("who"))


def _mean(stays: list[Stay], seconds: float) -> float:
    """By Little's law: the time that all jobs spent there, for each second of play."""
    return sum(min(left, seconds) - max(came, 0.0) for came, left, *_ in stays) / seconds


def _longest(stays: list[Stay]) -> int:
    """It was longest when one of its jobs came."""
    return max((sum(come <= number < gone for *_, come, gone in stays) for *_, number, _ in stays), default=0)


def _rank(ordered: list[float], percent: int) -> float | None:
    """The first value that is not exceeded by so many percent of them."""
    return next((value for rank, value in enumerate(ordered, 1) if 100 * rank >= percent * len(ordered)), None)


def _score_interval(right: int, count: int) -> list[float] | None:
    """The shares p with (right/count - p)² = z²·p·(1 - p)/count, for 95 %."""
    if not count:
        return None
    square, share = 1.959963984540054**2 / count, right / count
    half, rest = (2 * share + square) / (2 * (1 + square)), share**2 / (1 + square)
    return [max(0.0, half - math.sqrt(half**2 - rest)), min(1.0, half + math.sqrt(half**2 - rest))]


def _links(events: list[Event]) -> dict[str, dict[str, int]]:
    first, *_, last = (event["links"] for event in events if event["event"] == "traffic")
    return {link: {name: last[link][name] - first[link][name] for name in ("up", "down")} for link in first}


def flat(numbers: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each number with where it stands, like ``nodes.a.queue.mean``."""
    if isinstance(numbers, dict | list):
        for key, value in numbers.items() if isinstance(numbers, dict) else enumerate(numbers):
            yield from flat(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, numbers


def differing(directory: Path) -> dict[str, tuple[Any, Any]]:
    """What the summary of a run says otherwise than its events and samples: by its place, both values."""
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    began = {fault["name"]: fault["began"] for fault in summary["faults"] if fault["began"] is not None}
    said = {**{key: summary[key] for key in ("metrics", "links", "failures")}, "faults": began}
    said["nodes"] = {name: {**node, "queue": _alone(node["queue"])} for name, node in summary["nodes"].items()}
    ours, theirs = dict(flat(recounted(directory))), dict(flat(said))
    return {
        place: (theirs.get(place, "missing"), ours.get(place, "missing"))
        for place in ours.keys() | theirs.keys()
        if not _equal(theirs.get(place, "missing"), ours.get(place, "missing"))
    }


def _alone(queue: dict[str, Any]) -> dict[str, Any]:
    """A queue without theory, for which test_sweep.py does the same on real runs."""
    trend = queue.get("trend")
    return {**{key: queue[key] for key in ("mean", "max", "seconds")}, "slope": trend and trend["slope"]}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)
