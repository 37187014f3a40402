"""The node image as Docker has it: small, of an unprivileged user, and good for a read-only root without a network."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import docker
import pytest

from testbed.core.cache import cache_folder
from testbed.host.image import NODE_UID, ImageError, chosen_base, ensure_image
from testbed.host.image.code import build_code
from testbed.host.image.stack import mark_used, remove_unused

MEGABYTE = 1_000_000
UNIQUE = uuid.uuid4().hex[:8]
"""In the names of images that these tests make: another session may make its own at the same time."""


@pytest.fixture(scope="module")
def client() -> docker.DockerClient:
    return docker.from_env()


@pytest.fixture(scope="module")
def tag(client: docker.DockerClient) -> str:
    return ensure_image(client, print)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which a base can be chosen for this test alone; the wheels are those that are there."""
    (tmp_path / "wheels").symlink_to(cache_folder() / "wheels")
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path))
    return tmp_path


def _inside(client: docker.DockerClient, tag: str, *command: str) -> str:
    """What a command prints in a container that is confined like a node."""
    output: bytes = client.containers.run(
        tag,
        list(command),
        entrypoint="",
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        remove=True,
    )
    return output.decode()


def test_the_image_is_small(client: docker.DockerClient, tag: str) -> None:
    assert client.images.get(tag).attrs["Size"] < 400 * MEGABYTE


def test_an_unchanged_image_is_recognised_and_not_built_again(client: docker.DockerClient, tag: str) -> None:
    steps: list[str] = []
    assert ensure_image(client, steps.append) == tag
    assert steps == []


def test_the_user_is_not_root(client: docker.DockerClient, tag: str) -> None:
    assert _inside(client, tag, "id", "-u").strip() == str(NODE_UID) != "0"


def test_the_packages_of_a_node_can_be_imported(client: docker.DockerClient, tag: str) -> None:
    program = "import aiohttp, llama_cpp, pydantic, testbed; print(llama_cpp.llama_supports_mmap(), testbed.__file__)"
    assert _inside(client, tag, "python3", "-c", program).split() == ["True", "/opt/testbed/testbed/__init__.py"]


def test_no_module_is_compiled_again(client: docker.DockerClient, tag: str) -> None:
    program = "import asyncio, testbed, pydantic; print(*(m.__cached__ for m in (asyncio, testbed, pydantic)))"
    for compiled in _inside(client, tag, "python3", "-c", program).split():
        assert _inside(client, tag, "ls", compiled).strip() == compiled


def _layers(client: docker.DockerClient, tag: str) -> list[str]:
    """The tags of an image and of those that it is built on, itself first."""
    return [name for row in client.images.get(tag).history() for name in row["Tags"] or ()]


@pytest.mark.usefixtures("own_cache")
def test_another_base_is_named_once_and_then_used(client: docker.DockerClient) -> None:
    """An image made from the own base: one like any that a user could name, and here without a registry."""
    local = ensure_image(client, print)
    own = _layers(client, local)
    named = f"testbed-test-base:{UNIQUE}"
    client.images.build(fileobj=BytesIO(f"FROM {own[-1]}\nLABEL test={UNIQUE}".encode()), tag=named, rm=True)
    other = ensure_image(client, print, base=named)
    try:
        assert other != local
        assert _inside(client, other, "id", "-u").strip() == str(NODE_UID)
        assert ensure_image(client, print) == other
        assert ensure_image(client, print, base="local") == ensure_image(client, print) == local
    finally:
        for name in set(_layers(client, other)) - set(own):
            client.images.remove(name)


@pytest.mark.usefixtures("own_cache")
def test_a_base_that_cannot_be_had_is_a_clear_error(client: docker.DockerClient) -> None:
    with pytest.raises(ImageError, match="cannot be pulled") as caught:
        ensure_image(client, print, base="localhost:1/no-such-image")
    assert "--base" in str(caught.value)
    assert chosen_base() == ""


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_a_host_with_a_strict_umask_makes_an_image_that_a_node_can_read(client: docker.DockerClient, tag: str) -> None:
    own = f"testbed-test-umask:{UNIQUE}"
    packages = next(name for name in _layers(client, tag) if name.startswith("testbed-packages:"))
    with _umask(0o077):
        build_code(client, own, packages)
    try:
        program = "import os, testbed.node, testbed.node.agent; print(os.getuid())"
        assert _inside(client, own, "python3", "-c", program).strip() == str(NODE_UID)
    finally:
        client.images.remove(own)


def test_old_images_go_unless_they_are_young_or_in_use_or_not_ours(client: docker.DockerClient, tag: str) -> None:
    repository = f"testbed-test-old-{UNIQUE}"
    unused, used, foreign = (f"{repository}:{name}" for name in ("000000000000", "111111111111", "mine"))
    for name in (unused, used, foreign):
        client.images.build(fileobj=BytesIO(f"FROM {tag}\nLABEL test={name}".encode()), tag=name, rm=True)
    container = client.containers.create(used)

    def left() -> set[str]:
        return {name for row in client.images.list(name=repository) for name in row.tags}

    try:
        now = datetime.now(UTC)
        remove_unused(client, repository, before=now - timedelta(hours=1))
        assert left() == {unused, used, foreign}
        mark_used(client, unused)
        remove_unused(client, repository, before=now)
        assert left() == {unused, used, foreign}
        remove_unused(client, repository, before=datetime.now(UTC))
        assert left() == {used, foreign}
    finally:
        container.remove()
        for name in left():
            client.images.remove(name)
