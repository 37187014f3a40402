"""An installed wheel of the project builds the node image."""

from pathlib import Path

import docker
import pytest
from installed import CHANGE, PACKAGES, build_wheel, call, make_environment, packages_of


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """An environment with the wheel, and after it on its path all packages of this one."""
    environment = make_environment(tmp_path / "venv", build_wheel(tmp_path))
    (packages_of(environment) / "others.pth").write_text(f"{PACKAGES}\n")
    return environment


def test_an_installed_wheel_builds_the_node_image(host: Path, tmp_path: Path) -> None:
    client = docker.from_env()
    done = call(host / "bin" / "testbed", "image", cwd=tmp_path)
    tag = done.stdout.split()[-1]
    try:
        assert done.stderr.splitlines() == ["adding the node's code"]
        program = f"import testbed.node; print(testbed.node.{CHANGE})"
        shown: bytes = client.containers.run(
            tag, ["python3", "-c", program], entrypoint="", network_mode="none", remove=True
        )
        assert shown.decode().strip() == "True"
    finally:
        client.images.remove(tag)
