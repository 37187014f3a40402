"""Power sensors, played: what each reads, what the readings add up to, and what is said without any."""

import http.server
import json
import math
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet
import pytest

from testbed.analysis.measurements import Measurements, Part, Scope
from testbed.analysis.metrics.energy import joules, joules_per_prompt, joules_per_token
from testbed.core.errors import SpecError
from testbed.faults.api import Condition
from testbed.host.sensors.hwmon import Hwmon
from testbed.host.sensors.nvml import Nvml
from testbed.host.sensors.plugs import Plug, Shelly, Tasmota
from testbed.host.sensors.rapl import Rapl
from testbed.record import power
from testbed.record.power import Gauge, Meter
from testbed.record.samples import SCHEMA
from testbed.schema.network.sensor import Draw, Energy, PowerSensor, Read, SensorError
from testbed.world import journal as journals
from testbed.world.journal import Journal

SECONDS = 12
PERIOD = 1.7


def _watts(t: float) -> float:
    """3 W idle, 5 W at work."""
    return 5.0 if t % PERIOD < PERIOD / 2 else 3.0


def _true_joules(t: float) -> float:
    """The integral of the power, from 0 on."""
    whole, rest = divmod(t, PERIOD)
    return whole * 4 * PERIOD + 5 * min(rest, PERIOD / 2) + 3 * max(0.0, rest - PERIOD / 2)


def _measured(read: Read, play: Callable[[float], None], every: float) -> float:
    """What a meter has added up, for readings at intervals while the sensor is played."""
    meter = Meter()
    for number in range(int(SECONDS / every) + 1):
        play(number * every)
        meter.take(number * every, read())
    return meter.joules


def test_a_counter_that_begins_anew_counts_on(tmp_path: Path) -> None:
    top, begin = 40_000_000, 39_000_000
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:1", "psys")):
        folder = tmp_path / zone
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{top}\n")
        (folder / "energy_uj").write_text(f"{begin}\n")

    def play(t: float) -> None:
        (tmp_path / "intel-rapl:0" / "energy_uj").write_text(f"{(begin + int(1e6 * _true_joules(t))) % top}\n")

    read = Rapl(kind="rapl", folder=str(tmp_path)).open()
    assert _true_joules(SECONDS) > 41, "the counter begins anew twice"
    assert _measured(read, play, Rapl.every) == pytest.approx(_true_joules(SECONDS), rel=0.005)


@pytest.mark.parametrize("form", ["power", "voltage and current"])
def test_power_on_a_board_is_integrated(tmp_path: Path, form: str) -> None:
    for number, name in enumerate(("coretemp", "ina3221")):
        (tmp_path / f"hwmon{number}").mkdir()
        (tmp_path / f"hwmon{number}" / "name").write_text(f"{name}\n")
    chip = tmp_path / "hwmon1"

    def play(t: float) -> None:
        if form == "power":
            (chip / "power2_input").write_text(f"{int(1e6 * _watts(t))}\n")
        else:
            (chip / "in2_input").write_text("5000\n")
            (chip / "curr2_input").write_text(f"{int(1e3 * _watts(t) / 5)}\n")

    play(0)
    read = Hwmon(kind="hwmon", channel=2, folder=str(tmp_path)).open()
    assert _measured(read, play, Hwmon.every) == pytest.approx(_true_joules(SECONDS), rel=0.05)


class _Plug(http.server.BaseHTTPRequestHandler):
    watts: ClassVar[float] = 0.0
    on: ClassVar[bool] = True

    def do_GET(self) -> None:
        switched = re.fullmatch(r"/(cm\?cmnd=Power%20|relay/0\?turn=|rpc/Switch.Set\?id=0&on=)(\w+)", self.path)
        if switched:
            _Plug.on = switched[2].lower() in ("on", "true")
        answers = {
            "/cm?cmnd=Status%2010": {"StatusSNS": {"ENERGY": {"Power": round(self.watts), "Total": 1.0}}},
            "/rpc/Switch.GetStatus?id=0": {"id": 0, "apower": round(self.watts, 1), "aenergy": {"total": 1.0}},
            "/meter/0": {"power": round(self.watts, 2), "is_valid": True, "total": 1},
            f"/cm?cmnd=Power%20{'On' if _Plug.on else 'Off'}": {"POWER": "ON" if _Plug.on else "OFF"},
            f"/relay/0?turn={'on' if _Plug.on else 'off'}": {"ison": _Plug.on, "source": "http"},
            f"/rpc/Switch.Set?id=0&on={'true' if _Plug.on else 'false'}": {"was_on": not _Plug.on},
        }
        body = json.dumps(answers.get(self.path, {})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def plug() -> Iterator[str]:
    """The address of a plug that tells ``_Plug.watts``."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Plug)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


every_plug = pytest.mark.parametrize(
    "kind",
    [
        lambda address: Tasmota(kind="tasmota", address=address),
        lambda address: Shelly(kind="shelly", address=address),
        lambda address: Shelly(kind="shelly", address=address, generation=1),
    ],
    ids=["tasmota", "shelly", "shelly 1"],
)


@every_plug
def test_a_plug_is_asked_once_a_second(plug: str, kind: Callable[[str], PowerSensor]) -> None:
    def play(t: float) -> None:
        _Plug.watts = _watts(t)

    sensor = kind(plug)
    assert sensor.every == 1.0
    assert _measured(sensor.open(), play, sensor.every) == pytest.approx(_true_joules(SECONDS), rel=0.05)


@every_plug
def test_a_plug_takes_the_power_and_a_dead_run_gives_it_back(
    plug: str, kind: Callable[[str], Plug], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "JOURNALS", tmp_path)
    sensor = kind(plug)
    sensor.switch(on=False)
    assert not _Plug.on
    journal = Journal.begin()
    journal.record("power failure", sensor.model_dump_json())
    journal.undo()
    journal.close()
    assert _Plug.on


def test_a_plug_that_does_not_switch_says_so(plug: str) -> None:
    with pytest.raises(OSError, match=r"shelly at .* does not switch off"):
        Shelly(kind="shelly", address=plug, channel=3).switch(on=False)


INTERFACE = "{interface: enx1, power_sensor: %s}"


def test_the_power_goes_where_there_is_a_plug(files: Any) -> None:
    scenario = files.scenario + "timeline: [{at: 1s, unplug: pi, for: 2s}]\n"
    topology = files.topology.replace("switches:", "  pi: %s\nswitches:") + "  - endpoints: [pi, s1]\n"
    with pytest.raises(SpecError, match="node 'pi' has no smart plug; name one as its `power_sensor`"):
        files.load(scenario=scenario, topology=topology % (INTERFACE % "rapl"))
    with pytest.raises(SpecError, match="node 'a' is of kind 'container', which cannot suffer `unplug`"):
        plugged = files.topology.replace("a: {", "a: {power_sensor: {kind: shelly, address: 192.0.2.7}, ")
        files.load(scenario=scenario.replace("pi", "a"), topology=plugged)
    loaded = files.load(scenario=scenario, topology=topology % (INTERFACE % "{kind: shelly, address: 192.0.2.7}"))
    (phase,) = loaded.timeline[0].fault.phases(loaded.topology)
    assert [effect.change(Condition()) for effect in phase.effects] == [Condition(powered=False)]


def test_what_is_no_plug_is_refused(plug: str) -> None:
    with pytest.raises(SensorError, match="tells no power"):
        Shelly(kind="shelly", address=plug, channel=3).open()
    with pytest.raises(SensorError, match="tasmota at 127"):
        Tasmota(kind="tasmota", address="127.0.0.1:1").open()


LIBRARY = """
#include <string.h>
static unsigned long long count = 1000;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)7; return index ? 2 : 0; }
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj) {
    if (OLD) return 3;
    *mj = count += 250;
    return device == (void *)7 ? 0 : 2;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned *mw) { *mw = 70500; return device == (void *)7 ? 0 : 2; }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="plays the driver's library")
@pytest.mark.parametrize(("old", "read"), [(0, Energy(1.5)), (1, Draw(70.5))])
def test_a_gpu_tells_energy_or_power(tmp_path: Path, old: int, read: Energy | Draw) -> None:
    library = tmp_path / f"nvml{old}.so"
    command = ["cc", "-shared", "-fPIC", f"-DOLD={old}", "-xc", "-", "-o", str(library)]
    subprocess.run(command, input=LIBRARY, text=True, check=True)
    assert Nvml(kind="nvml", library=str(library)).open()() == read
    with pytest.raises(SensorError, match="GPU 1 does not answer"):
        Nvml(kind="nvml", gpu=1, library=str(library)).open()


@pytest.mark.parametrize(
    ("sensor", "said"),
    [
        (Rapl(kind="rapl", folder="/nowhere"), "no processor package"),
        (Hwmon(kind="hwmon", chip="ina226", folder="/nowhere"), "chip ina226 should measure power on channel 1"),
        (Nvml(kind="nvml", library="libnowhere.so"), "no NVIDIA driver"),
    ],
)
def test_a_sensor_that_is_not_there_is_named(sensor: PowerSensor, said: str) -> None:
    with pytest.raises(SensorError, match=said) as missing:
        sensor.open()
    assert missing.value.exit_code == 3


class _Counting(PowerSensor):
    """Tells 1 J more at each reading, and after ``ends_after`` readings nothing."""

    every: ClassVar[float] = 0.001
    ends_after: float = math.inf

    def open(self) -> Read:
        read = 0

        def one() -> Energy:
            nonlocal read
            read += 1
            if read > self.ends_after:
                raise OSError("unplugged")
            return Energy(float(read))

        return one


def test_a_gauge_counts_from_its_first_reading_on() -> None:
    gauge = Gauge("a", _Counting(kind="counting"), lambda *_: None)
    assert gauge.joules is None
    gauge.start()
    while (gauge.joules or 0) < 3:
        time.sleep(0.001)
    gauge.stop()
    assert gauge.joules is not None and gauge.joules >= 3


def test_a_sensor_that_stops_answering_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "_LOST", 0.01)
    lost = list[tuple[str, str]]()
    gauge = Gauge("a", _Counting(kind="counting", ends_after=3), lambda *said: lost.append(said))
    gauge.start()
    while not lost:
        time.sleep(0.001)
    gauge.stop()
    assert lost == [("a", "unplugged")]
    assert gauge.joules is None


def _run(energy: dict[str, list[tuple[float, float]]]) -> Measurements:
    """Two answered prompts in 10 s; a writes 30 tokens, b 50."""
    events: list[dict[str, Any]] = [{"t": 0.0, "node": name, "event": "ready", "load_seconds": 1.0} for name in "ab"]
    for number, (node, tokens) in enumerate((("a", 30), ("b", 50))):
        prompt, t = f"p{number}", 1.0 + 4 * number
        events.append({"t": t, "node": "", "event": "prompt", "prompt": prompt, "owner": node, "text": "x"})
        events.append({"t": t, "node": node, "event": "arrival", "prompt": prompt, "text": "x"})
        job = {"node": node, "job": f"{prompt}.1@{node}"}
        events.append({"t": t, "event": "enqueue", **job})
        events.append({"t": t, "event": "start", **job})
        events.append({"t": t + 2, "event": "end", **job, "text": "", "tokens": tokens, "prompt_tokens": 1})
        events.append({"t": t + 2, "node": node, "event": "answer", "prompt": prompt, "text": ""})
    events.append({"t": 10.0, "node": "a", "event": "heard"})
    return Measurements(events, {}, energy=energy)


def _figures(part: Part) -> list[float | None]:
    return [measure(part)[0] for measure in (joules, joules_per_prompt, joules_per_token)]


def test_joules_are_those_of_nodes_with_a_sensor() -> None:
    """a takes 6 W throughout: 60 J for two prompts, and 2 J for each of its 30 tokens."""
    run = _run({"a": [(t / 2, 3.0 * t) for t in range(21)]})
    assert _figures(Part(run)) == pytest.approx([60.0, 30.0, 2.0])
    assert _figures(Part(run, Scope(begin=2.0, end=7.25))) == pytest.approx([31.5, 31.5, 31.5 / 30])
    assert _figures(Part(run, Scope(nodes={"b"}))) == [None, None, None]


@pytest.mark.parametrize(
    "energy",
    [{}, {"a": []}, {"a": [(0.0, 0.0), (5.0, 30.0)]}, {"a": [(t, t) for t in range(11)], "b": [(0.0, 0.0)]}],
    ids=["no sensor", "no reading", "lost", "one of two lost"],
)
def test_what_was_not_measured_is_null_and_never_0(energy: dict[str, list[tuple[float, float]]]) -> None:
    assert _figures(Part(_run(energy))) == [None, None, None]


def test_samples_have_a_column_for_joules() -> None:
    assert SCHEMA.field("joules").type == pyarrow.float64()


TASMOTA = "power_sensor: {kind: tasmota, address: 10.1.1.1}"
MISTAKES = {
    "power_sensor: volta": "hwmon",
    "power_sensor: tasmota": "must hold keys and values",
    "power_sensor: {kind: tasmota, address: 'http://10.1.1.1/x'}": "address",
    "power_sensor: {kind: hwmon, chanel: 2}": "chanel",
}


@pytest.mark.parametrize(("written", "said"), MISTAKES.items())
def test_mistakes_in_a_topology_are_explained(files: Any, written: str, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        files.load(topology=files.topology.replace("model: zoo/alpha", f"model: zoo/alpha, {written}"))
    assert said in str(refused.value)


def test_a_sensor_belongs_to_one_node_and_to_real_time(files: Any) -> None:
    both = files.topology.replace("model: zoo/", f"{TASMOTA}, model: zoo/")
    with pytest.raises(SpecError, match="would count twice"):
        files.load(topology=both)
    one = files.topology.replace("model: zoo/alpha", f"{TASMOTA}, model: zoo/alpha")
    loaded = files.load(topology=one)
    assert [kind.name for kind in loaded.kinds if kind.group == "testbed.sensors"] == ["tasmota"]
    with pytest.raises(SpecError, match="measures in real time"):
        files.load("dilation=2.0", topology=one)
