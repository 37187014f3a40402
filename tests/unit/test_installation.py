"""A wheel of the project without any extra: it is a node, and says what it lacks for more."""

import re
from contextlib import suppress
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from installed import PACKAGES, build_wheel, call, make_environment, packages_of


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    return make_environment(tmp_path / "venv", build_wheel(tmp_path))


def _needed(name: str, seen: dict[str, Distribution]) -> dict[str, Distribution]:
    """A distribution and those that it needs without extras, as far as this Python needs them."""
    if name not in seen:
        with suppress(PackageNotFoundError):
            seen[name] = distribution(name)
            for line in seen[name].requires or []:
                if "extra ==" not in line:
                    _needed(re.split(r"[^\w.-]", line)[0].lower(), seen)
    return seen


def _link(found: Distribution, packages: Path) -> None:
    for name in {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}:
        if not (packages / name).exists():
            (packages / name).symlink_to(PACKAGES / name)


@pytest.fixture
def board(environment: Path) -> Path:
    """An environment that holds the wheel and what it needs without any extra."""
    needed = _needed("testbed", {})
    assert {"aiohttp", "pydantic"} <= needed.keys()
    assert not {"docker", "typer", "pyarrow"} & needed.keys()
    for name in needed.keys() - {"testbed"}:
        _link(needed[name], packages_of(environment))
    return environment


def test_a_board_can_be_a_node_and_says_what_it_lacks_for_more(board: Path) -> None:
    python = board / "bin" / "python"
    told = call(python, "-c", "import testbed.node.__main__, testbed; print(testbed.__file__)").stdout
    assert Path(told.strip()).is_relative_to(board)
    sentence = re.compile(r"the extra `host` is not installed \(\w+ is missing\).*pip install '\.\[host\]'\n")
    for command in ([board / "bin" / "testbed", "run", "x.yaml"], [python, "-m", "testbed", "doctor"]):
        assert sentence.fullmatch(call(*command, status=3).stderr)
    asked = "import testbed\ntry:\n    testbed.read_run('.')\nexcept Exception as error:\n    print(error)"
    assert sentence.fullmatch(call(python, "-c", asked).stdout)


def test_an_environment_without_any_package_imports_it(environment: Path) -> None:
    assert "read_run" in call(environment / "bin" / "python", "-c", "import testbed; print(dir(testbed))").stdout
