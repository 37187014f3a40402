"""What `testbed hardware` finds, in a tree that stands for /sys."""

import subprocess
from pathlib import Path

import pytest

from testbed.host import hardware
from testbed.host.hardware import Part
from testbed.host.interfaces import Address, Interface

FREE = Interface("enx0", "02:00:00:00:00:01", 1500, True, "", (Address("169.254.7.1", 16),), ())
ROUTE = {"table": 254, "gateway": "192.0.2.1"}
NEEDED = Interface("eth9", "02:00:00:00:00:02", 1500, True, "", (Address("192.0.2.2", 24),), (ROUTE,))


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_an_interface_is_for_a_node_or_needed_by_the_host() -> None:
    free, needed = hardware._interfaces({"enx0": FREE, "eth9": NEEDED})
    assert free == Part("interface", "enx0", "169.254.7.1/16", "a node: {interface: enx0}, or `nic: enx0` of a board")
    assert needed.use == ""
    assert needed.detail.startswith("interface 'eth9' carries the default route")


def test_sensors_are_found_by_what_they_measure(tmp_path: Path) -> None:
    _write(tmp_path / "class/powercap/intel-rapl:0/energy_uj", "17\n")
    _write(tmp_path / "class/powercap/intel-rapl:0/name", "package-0\n")
    _write(tmp_path / "class/hwmon/hwmon3/power1_input", "2500000\n")
    _write(tmp_path / "class/hwmon/hwmon3/name", "ina226\n")
    _write(tmp_path / "class/hwmon/hwmon4/temp1_input", "41000\n")
    (counter,) = hardware._counters(tmp_path)
    (monitor,) = hardware._monitors(tmp_path)
    assert (counter.name, counter.detail) == ("intel-rapl:0", "RAPL energy counter of package-0")
    assert (monitor.name, monitor.detail) == ("hwmon3/power1_input", "power of ina226, in µW")


def test_gpus_are_those_that_the_driver_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = subprocess.CompletedProcess([], 0, stdout="0, NVIDIA L4, 23034 MiB\n")
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: listed)
    assert list(hardware._gpus()) == [Part("gpu", "0", "NVIDIA L4, 23034 MiB", "a node's `gpu`")]
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert list(hardware._gpus()) == []
