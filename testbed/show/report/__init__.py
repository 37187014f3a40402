"""``report.html``: a run, or several side by side, as one page that needs nothing else, not even a network.

    page.py          the parts of the page of a run
    lanes.py         queue, memory and tokens of each node over the time of play
    composition.py   what latencies are spent on
    links.py         links as asked and as measured
    prompt_rows.py   every prompt with its answer
    comparison.py    the page of several runs
    sweep.py         the page of a sweep
    chaos.py         the page of a chaos campaign
    lines.py         lines of figures: SVG paths in units of the data, thinned out to what a screen can show
    rendering.py     templates to pages
    templates/       the pages, their style, and their script: searching, and reading values off the figures

The figures need no script. The template engine escapes everything that a model or a user wrote, and the pages'
Content-Security-Policy lets no script run but their own.
"""

from testbed.show.report.comparison import write_comparison
from testbed.show.report.page import REPORT, write_report
from testbed.show.report.sweep import write_sweep

__all__ = ["REPORT", "write_comparison", "write_report", "write_sweep"]
