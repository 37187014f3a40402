"""Remakes docs/run.svg, the README's picture, from a real run: `sudo .venv/bin/python docs/picture.py`."""

import io
import re
import threading
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from testbed.analysis.board import NodeBoard
from testbed.run.runner import Options, run
from testbed.schema.scenario import load_scenario
from testbed.show.live import LiveView
from testbed.show.terminal import print_summary

HERE = Path(__file__).parent
SCENARIO = HERE.parent / "scenarios" / "partition.yaml"
MOMENT = 8.0  # seconds into play, while the fault lasts


class Photographer(LiveView):
    """The live view, of which one moment is kept."""

    def __init__(self, scenario: str, console: Console) -> None:
        super().__init__(scenario)
        self._console = console

    def play(self, boards: dict[str, NodeBoard], prompts: int, faults: Mapping[str, str], dilation: float) -> None:
        """Keep what the screen shows while the fault lasts."""
        super().play(boards, prompts, faults, dilation)
        threading.Timer(MOMENT, lambda: self._console.print(self.render())).start()


console = Console(record=True, width=96, file=io.StringIO(), force_terminal=True, highlight=False)
console.print("$ sudo ./tb run scenarios/partition.yaml\n")
scenario = load_scenario(SCENARIO)
summary = run(scenario, Options(), Photographer(scenario.name, console))
console.print()
print_summary(summary, console)
drawn = console.export_svg(title="testbed")
# A picture in a README should fetch nothing; without rich's web font the reader's own monospaced one is taken.
(HERE / "run.svg").write_text(re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL))
