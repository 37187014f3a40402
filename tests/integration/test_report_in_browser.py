"""Reports in a real browser: nothing goes wrong there, everything is drawn, and pictures of them are kept."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from browsing import Tab, Theme, browser
from playing import played, scenario

from testbed.show.report import write_comparison, write_report

LARGEST = 2 * 2**20  # bytes of a page

Result = TypeVar("Result")

DRAWN = """[...document.querySelectorAll("svg path, svg rect, svg text")]
    .filter((e) => !e.closest("defs") && e.getClientRects().length).length"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
REQUESTS = 'performance.getEntriesByType("resource").length'
CONTRAST = """(() => {
    const light = (c) => c.map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    const luminance = (c) => light(c).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
    const page = luminance(rgb(getComputedStyle(document.body).backgroundColor));
    const texts = [...document.querySelectorAll("body :not(svg *, script, style)")]
        .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
    return Math.min(...texts.map((e) => luminance(rgb(getComputedStyle(e).color)))
        .map((text) => (Math.max(page, text) + .05) / (Math.min(page, text) + .05)));
})()"""
"""The least contrast of any text with the page (WCAG 2.2, 1.4.3)."""


def _browse(steps: Callable[[Tab], Awaitable[Result]]) -> Result:
    """Take these steps in a browser; nothing may be complained of there."""

    async def take() -> Result:
        async with asyncio.timeout(600), browser() as tab:
            result = await steps(tab)
            assert tab.complaints == []
            return result

    return asyncio.run(take())


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of 32 nodes and 1,000 prompts."""
    path = played(scenario(nodes=32, prompts=1000, layers=2), tmp_path_factory.mktemp("large") / "run")
    write_report(path)
    return path / "report.html"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = played(scenario(), tmp_path_factory.mktemp("small") / "run")
    write_report(path)
    return path / "report.html"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390], ids=["laptop", "phone"])
def test_a_report_is_readable_on_any_screen(small: Path, width: int, theme: Theme) -> None:
    async def look(tab: Tab) -> None:
        await tab.open(small.as_uri(), width, theme)
        await tab.screenshot(f"report-{width}-{theme}")
        assert await tab.value(OVERFLOW) == 0, "only tables and drawings may scroll sideways"
        assert await tab.value(CONTRAST) >= 4.5
        assert await tab.value(REQUESTS) == 0
        assert await tab.value(DRAWN) > 50

    _browse(look)


def test_a_large_report_has_everything_in_it(large: Path) -> None:
    assert large.stat().st_size < LARGEST

    async def look(tab: Tab) -> None:
        await tab.open(large.as_uri())
        await tab.screenshot("report-large")
        assert await tab.value('document.querySelectorAll(".plot path.line").length') == 3 * 32
        assert await tab.value('document.querySelectorAll("#prompts tbody tr").length') == 1000
        assert await tab.value('document.querySelectorAll(".topology .device").length') == 32

    _browse(look)


def test_prompts_can_be_searched(large: Path) -> None:
    rows = '[...document.querySelectorAll("#prompts tbody tr")]'
    shown = f"{rows}.filter((row) => row.getClientRects().length)"

    async def look(tab: Tab) -> None:
        await tab.open(large.as_uri())
        await tab.type("input[type=search]", "WRONG n7 capital")
        text = '[...row.querySelectorAll("th, td:not(.way)")].map((cell) => cell.textContent).join(" ")'
        expected = f"""{rows}.filter((row) => ["wrong", "n7", "capital"].every((w) => {text}.includes(w))).length"""
        found = await tab.value(f"{shown}.length")
        assert 0 < found == await tab.value(expected) < 100
        assert await tab.value('document.querySelector("#prompts output").value') == f"{found} of 1000"

    _browse(look)


def test_the_pointer_reads_values_off_the_timeline(small: Path) -> None:
    """Where the simulated node that was killed was down, it had no memory."""
    peak = json.loads((small.parent / "summary.json").read_text())["nodes"]["n4"]["memory"]["peak"]
    said = 'document.getElementById("n4.memory").querySelector("dd").textContent'

    async def look(tab: Tab) -> None:
        await tab.open(small.as_uri())
        whole = await tab.value(said)
        assert whole == f"{peak / 2**20:.0f} of 160 MiB"
        crash = await tab.value(
            'document.querySelector("#faults rect:last-of-type").x.baseVal.value'
            ' / Number(document.querySelector(".timeline").dataset.seconds)'
        )
        await tab.point(".plots", crash + 0.02)
        assert await tab.value(said) == "0 MiB"
        await tab.point(".plots", 0.02)
        assert 50 < float((await tab.value(said)).split()[0]) < 90
        await tab.point("h1", 0.5)
        assert await tab.value(said) == whole

    _browse(look)


def test_a_comparison_opens(small: Path, tmp_path: Path) -> None:
    other = played(scenario(layers=2), tmp_path / "other")
    write_comparison(small.parent, [other], tmp_path / "comparison.html")

    async def look(tab: Tab) -> None:
        await tab.open((tmp_path / "comparison.html").as_uri())
        await tab.screenshot("comparison")
        assert await tab.value(DRAWN) >= 2
        assert await tab.value(OVERFLOW) == 0

    _browse(look)
