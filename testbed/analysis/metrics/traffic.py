"""Metrics of what nodes send each other."""

from testbed.analysis.measurements import Part
from testbed.schema.metric import metric


# Counted when play begins and when it ends, at links, which have two ends.
@metric("B", "lower", of_window=False, of_node=False, rank=12)
def bytes_on_links(part: Part) -> int:
    """Bytes of the frames that all links carried during play, both directions added up."""
    return _carried(part)


@metric("B/token", "lower", of_window=False, of_node=False, rank=12)
def bytes_per_token(part: Part) -> float | None:
    """Bytes that all links carried during play, for each token that models wrote."""
    written = sum(event["tokens"] for event in part.of("end"))
    return _carried(part) / written if written else None


@metric(rank=14)
def retries(part: Part) -> int:
    """Number of attempts that were repeated."""
    return len(part.of("retry"))


@metric(rank=15)
def duplicates(part: Part) -> int:
    """Number of requests for a job that a node was doing or had done."""
    return len(part.of("duplicate"))


@metric(rank=16)
def late(part: Part) -> int:
    """Number of responses to attempts that had been given up."""
    return len(part.of("late"))


@metric(rank=17)
def rejected(part: Part) -> int:
    """Number of jobs that a full queue refused."""
    return len(part.of("rejected"))


@metric(rank=18)
def dropped(part: Part) -> int:
    """Number of jobs that a full queue dropped for newer ones."""
    return len(part.of("dropped"))


@metric(rank=19)
def frames_rejected(part: Part) -> int:
    """Number of frames that nodes of a ring refused."""
    return len(part.of("frame_rejected"))


@metric(rank=20)
def unauthenticated(part: Part) -> int:
    """Number of requests, datagrams, streams and handshakes that nodes refused because no node of the run sent them."""
    return sum(event["count"] for event in part.of("unauthenticated"))


@metric("%", "lower", of_window=False, of_node=False, rank=20)
def capture_readable(part: Part) -> float | None:
    """Share of prompts whose text can be read in the captured frames of some link."""
    captured = part.of("captured")
    prompts = {prompt for event in captured for prompt in event["prompts"]}
    read = {prompt for event in captured for prompt in event["readable"]}
    return len(read) / len(prompts) if prompts else None


def _carried(part: Part) -> int:
    return sum(link["up"] + link["down"] for link in part.traffic.values())
