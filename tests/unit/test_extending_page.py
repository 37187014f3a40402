"""The code on docs/extending.md works as the page says."""

import re
import tomllib
from pathlib import Path

import pytest

from testbed.core.registry import load_from_file
from testbed.patterns.base import Pattern
from testbed.schema.scenario import load_scenario
from testbed.workload.prompts.base import Question

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "extending.md"
BLOCK = re.compile(r"^```\w+\n# (?P<path>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the topologies, and every file that the page shows under the path in the file's first line."""
    (tmp_path / "topologies").symlink_to(PROJECT / "topologies")
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        file = tmp_path / block["path"]
        file.parent.mkdir(exist_ok=True)
        file.write_text(block["text"], encoding="utf-8")
    return tmp_path


def test_the_pattern_and_its_scenario_are_valid(checkout: Path) -> None:
    pattern = load_scenario(checkout / "mine" / "offload.yaml").pattern
    assert isinstance(pattern, Pattern)
    assert pattern.peers_needed == 1
    assert pattern.model_dump()["timeout"] == "1s"


def test_the_scorer_scores(checkout: Path) -> None:
    scorer = load_from_file(checkout / "word_f1" / "testbed_word_f1.py", "WordF1")
    assert scorer(scorer="word-f1").score(Question("?", "the old bridge"), "The bridge.") == 0.8


def test_the_package_is_that_of_the_example(checkout: Path) -> None:
    shown, real = (
        tomllib.loads((folder / "word_f1" / "pyproject.toml").read_text(encoding="utf-8"))
        for folder in (checkout, PROJECT / "examples")
    )
    assert shown["project"]["entry-points"] == real["project"]["entry-points"]
    assert shown["tool"] == real["tool"]


def test_every_file_that_the_page_links_to_is_there() -> None:
    links = re.findall(r"\]\((\.\./[^)#]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
