"""The layers on top of each other: builds those that are missing, and removes images of old code."""

import fcntl
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import docker
from docker.errors import APIError, DockerException

from testbed.core.cache import cache_folder
from testbed.core.registry import Origin
from testbed.host.image.base import LOCAL, base_layer, choose_base, chosen_base, named_base, present
from testbed.host.image.building import ImageError
from testbed.host.image.code import NODE, code_layer
from testbed.host.image.kinds import kinds_layer
from testbed.host.image.layer import Layer
from testbed.host.image.packages import packages_layer

_KEPT: Final = timedelta(days=1)
"""How long an image of other code outlives its last use."""


def ensure_image(
    client: docker.DockerClient,
    report: Callable[[str], None],
    base: str | None = None,
    kinds: Sequence[Origin] = (),
) -> str:
    """Build the missing layers of the node image and return its tag; raises ImageError.

    ``report`` gets the name of each step that takes time. ``base`` names an image for the first layer, in this call and
    in later calls without a base; ``local`` means the base made here. ``kinds`` are those of other packages and
    files that nodes need.
    """
    try:
        tag = _ensure_layers(client, report, chosen_base() if base is None else base, kinds)
        if base is not None:
            choose_base(base)
        return tag
    except (DockerException, OSError, subprocess.CalledProcessError) as error:
        raise ImageError(f"the node image cannot be made: {error}", mend="sudo ./tb doctor") from error


def _ensure_layers(
    client: docker.DockerClient, report: Callable[[str], None], base: str, kinds: Sequence[Origin]
) -> str:
    layers = [packages_layer(), code_layer(), *([kinds_layer(kinds)] if kinds else [])]
    if base in LOCAL:
        return ensure_stack(client, report, [base_layer(), *layers], below="")
    return ensure_stack(client, report, layers, named_base(client, report, base))


def ensure_stack(
    client: docker.DockerClient, report: Callable[[str], None], layers: Sequence[Layer], below: str
) -> str:
    """Build the missing ``layers`` on the image ``below``, and return the tag of the last; raises ImageError."""
    tags = [below]
    for layer in layers:
        tags.append(layer.tag(tags[-1]))
    if present(client, tags[-1]):
        mark_used(client, tags[-1])
        return tags[-1]
    with _one_at_a_time(report):
        for layer, under, tag in zip(layers, tags, tags[1:], strict=False):
            if not present(client, tag):
                report(layer.step)
                layer.build(client, tag, under)
        remove_unused(client, NODE, before=datetime.now(UTC) - _KEPT)
    return tags[-1]


@contextmanager
def _one_at_a_time(report: Callable[[str], None]) -> Iterator[None]:
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "image.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another build of the image")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def mark_used(client: docker.DockerClient, tag: str) -> None:
    """Tag an image again: the time of the last tagging is the only trace of its use that Docker keeps."""
    client.images.get(tag).tag(*tag.split(":"))


def remove_unused(client: docker.DockerClient, repository: str, before: datetime) -> None:
    """Remove the tags that were made here and last used ``before`` that time."""
    for tag in [tag for row in client.api.images(repository) for tag in row["RepoTags"] or ()]:
        with suppress(APIError):  # Docker keeps an image that a container has; or the image is gone already
            if re.fullmatch(rf"{repository}:[0-9a-f]{{12}}", tag) and _last_used(client, tag) < before:
                client.images.remove(tag)


def _last_used(client: docker.DockerClient, tag: str) -> datetime:
    tagged = client.images.get(tag).attrs["Metadata"].get("LastTagTime")
    return datetime.fromisoformat(tagged) if tagged else datetime.now(UTC)
