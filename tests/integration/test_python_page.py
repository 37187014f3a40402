"""docs/python.md: its code blocks run, in their order, in a folder that has the scenarios."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from observed import PROJECT

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("nothing_left")
def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    for folder in ("scenarios", "topologies"):
        (tmp_path / folder).symlink_to(PROJECT / folder)
    blocks = BLOCK.findall((PROJECT / "docs" / "python.md").read_text(encoding="utf-8"))
    code = "\n".join(f"print('## {number}')\n{block}" for number, block in enumerate(blocks))
    played = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert played.returncode == 0, played.stderr
    _, run, read, memory, jobs, compared, error = re.split(r"^## \d+$", played.stdout, flags=re.MULTILINE)
    assert "runs/gossip-moa-" in run
    assert re.search(r"[\d.]+ s, \d+% right", read)
    assert re.findall(r"^(\w): [\d.]+ MiB$", memory, re.MULTILINE) == ["a", "b", "c", "d"]
    assert jobs.count("'waited': ") == 5
    assert "latency.mean" in compared
    assert "there is no such key here; did you mean `layers`?" in error
