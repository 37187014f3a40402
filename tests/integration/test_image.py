"""The node image as Docker has it: small, of an unprivileged user, and good for a read-only root without a network."""

import time

import docker
import pytest

from testbed.emulation.image import NODE_UID, ImageError, ensure_image

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def client() -> docker.DockerClient:
    return docker.from_env()


@pytest.fixture(scope="module")
def tag(client: docker.DockerClient) -> str:
    return ensure_image(client, print)


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


def test_an_unchanged_image_is_recognised_at_once(client: docker.DockerClient, tag: str) -> None:
    steps: list[str] = []
    began = time.perf_counter()
    assert ensure_image(client, steps.append) == tag
    assert time.perf_counter() - began < 0.1
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


def test_another_base_can_be_named(client: docker.DockerClient, tag: str) -> None:
    """The own base by its name: an image like any that a user could name, and here without a registry."""
    own = _layers(client, tag)
    other = ensure_image(client, print, base=own[-1])
    try:
        assert other not in own
        assert _inside(client, other, "id", "-u").strip() == str(NODE_UID)
    finally:
        for name in set(_layers(client, other)) - set(own):
            client.images.remove(name)


def test_a_base_that_cannot_be_had_is_a_clear_error(client: docker.DockerClient) -> None:
    with pytest.raises(ImageError, match="cannot be pulled") as caught:
        ensure_image(client, print, base="localhost:1/no-such-image")
    assert "--base" in str(caught.value)
