"""The last layer: the part of the project that runs inside a node."""

import shutil
from typing import Final

import docker

from testbed.host.image.building import build, work_folder
from testbed.host.image.layer import RECIPES, SOURCES, Layer, contents, found_files

NODE: Final = "testbed-node"
"""The repository of the finished images."""

NODE_CODE: Final = (
    "testbed/__init__.py",
    "testbed/core",
    "testbed/node",
    "testbed/patterns",
)
"""Files, and folders with all their files, that the image holds of the project."""

_DOCKERFILE: Final = "Dockerfile"


def code_layer() -> Layer:
    """The code of this installation, be it a checkout or a wheel."""
    parts = [*contents([_DOCKERFILE], RECIPES), *contents(NODE_CODE, SOURCES)]
    return Layer(NODE, "adding the node's code", parts, build_code)


def build_code(client: docker.DockerClient, tag: str, below: str) -> None:
    """Copy the code into an image on ``below``."""
    with work_folder() as work:
        for file in found_files(NODE_CODE, SOURCES):
            (work / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(SOURCES / file, work / file)
        build(client, tag, below, work, _DOCKERFILE)
