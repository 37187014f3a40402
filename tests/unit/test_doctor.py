"""What the doctor says of hosts that lack something."""

import json
import os
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from testbed.core.errors import HostError
from testbed.host import doctor
from testbed.host.doctor import Finding


class FakeEngine:
    """What an engine says of itself."""

    def __init__(self, **info: Any) -> None:
        self.info = lambda: {"SecurityOptions": [], **info}


def test_a_finding_is_plain_data() -> None:
    finding = Finding("memory", problem="none", mend="buy some")
    assert json.loads(json.dumps(finding.as_dict())) == {
        "subject": "memory",
        "state": "",
        "problem": "none",
        "mend": "buy some",
    }


@pytest.mark.parametrize(("free", "fits"), [(1 << 30, True), ((1 << 30) - 1, False)])
def test_memory(free: int, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    assert bool(doctor._memory().state) is fits


@pytest.mark.parametrize(("free", "fits"), [(2 << 30, True), ((2 << 30) - 1, False)])
def test_disks(free: int, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "not" / "there" / "yet"))
    monkeypatch.setattr(shutil, "disk_usage", {tmp_path: SimpleNamespace(free=free)}.__getitem__)
    assert bool(doctor._cache_disk().state) is fits
    assert bool(doctor._engine_disk(FakeEngine(DockerRootDir=str(tmp_path))).state) is fits


def test_an_engine_that_does_not_answer_is_one_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise HostError("no")

    monkeypatch.setattr(doctor, "connect_docker", refuse)
    assert [finding.problem for finding in doctor._examine_engine()] == ["does not answer"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["name=seccomp,profile=default", "name=cgroupns"], ""),
        (None, ""),
        (["name=seccomp,profile=default", "name=rootless"], "rootless"),
        (["name=userns"], "users of their own"),
    ],
)
def test_the_users_of_an_engine(options: list[str] | None, problem: str) -> None:
    found = doctor._engine_users(FakeEngine(SecurityOptions=options))
    assert problem in found.problem and bool(found.problem) is bool(problem)


@pytest.mark.parametrize("address", ["tcp://10.0.0.9:2375", "ssh://root@board"])
def test_an_engine_elsewhere(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    found = doctor._engine_place(FakeEngine())
    assert address in found.problem
    assert found.mend == "unset DOCKER_HOST"


def test_an_engine_is_here_if_the_process_behind_its_socket_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "engine.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(path))
        engine.listen()
        assert doctor._listener(str(path)) == os.getpid()
        assert doctor._engine_place(FakeEngine()).state == "this machine"
    monkeypatch.setattr(doctor, "_listener", lambda _: 0)  # as the kernel answers for one outside the pid namespace
    assert "outside" in doctor._engine_place(FakeEngine()).problem


def test_what_the_kernel_does_not_make(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(doctor, "in_throwaway_namespace", refuse)
    assert "no bridge (Operation not supported)" in doctor._bridge().problem
    assert doctor._veth().problem == ""  # links in user space do without
    monkeypatch.setattr(doctor, "in_throwaway_namespace", lambda _: None)
    assert (doctor._bridge().problem, doctor._veth().state) == ("", "yes")


def test_a_named_base_makes_mmdebstrap_dispensable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    assert "--base IMAGE" in doctor._base_image().mend
    (tmp_path / "base").write_text("mine:1")
    assert doctor._base_image() == Finding("base image", "mine:1")


def test_a_missing_program_comes_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for name, mend in doctor._PROGRAMS.items():
        assert doctor._program(name, mend) == Finding(name, problem="is not installed", mend=mend)
    assert "docker-cli" in doctor._PROGRAMS["docker"]
