"""What becomes of a run that is killed, interrupted, kept, or not alone."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import psutil
import pytest
from observed import GOSSIP, PROJECT, FinishedRun, Remains, container_of, start, wait_for_stage, wait_for_watchers

from testbed.world.network.links import relay
from testbed.world.nodes import metronome

Run = Callable[..., FinishedRun]

SHORT = ("--fidelity", "off", "--set", "workload.count=8", "--set", "workload.arrivals.rate=1/s")
LONG = ("--fidelity", "off", "--set", "workload.count=400", "--set", "workload.arrivals.rate=1/s")
"""So that play goes on until the test ends it, however long the test takes for that."""
MEASURED = ("--fidelity", "quick")
IMPATIENT = ("--set", "pattern.timeout=1s")
MOMENTS = random.Random(2).choices(range(80), k=10)  # tenths of a second after the start; a run takes about ten seconds


@pytest.mark.usefixtures("nothing_left")
def test_an_ordinary_run_leaves_nothing(run: Run) -> None:
    assert run(GOSSIP, *SHORT).summary["metrics"]["completed"] == 1


@pytest.mark.usefixtures("nothing_left")
def test_killed_at_any_moment_it_leaves_nothing_after_clean(tmp_path: Path) -> None:
    for number, moment in enumerate(MOMENTS):
        runner = start("run", GOSSIP, "--out", tmp_path / str(number), *SHORT)
        time.sleep(moment / 10)  # the moment is what is being tested
        runner.send_signal(signal.SIGKILL)
        runner.wait()
        assert start("clean").wait() == 0
        wait_for_watchers()


@pytest.mark.usefixtures("nothing_left")
def test_the_watcher_alone_removes_a_killed_run(tmp_path: Path) -> None:
    before = Remains.now()
    runner = start("run", GOSSIP, "--out", tmp_path / "run", *LONG)
    wait_for_stage(runner, "play")
    assert len(Remains.now().containers - before.containers) == 4
    runner.send_signal(signal.SIGKILL)
    wait_for_watchers()


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_keeps_its_traces_and_cleans_up(tmp_path: Path, ending: signal.Signals) -> None:
    runner = start("run", GOSSIP, "--out", tmp_path / "run", *LONG)
    wait_for_stage(runner, "play")
    runner.send_signal(ending)
    output, _ = runner.communicate()
    assert runner.returncode == 130
    assert "Traceback" not in output
    run = FinishedRun(tmp_path / "run", runner.returncode, output)
    assert (run.summary["verdict"], run.summary["invariants"]) == ("interrupted", [])
    assert "interrupted" in {event["event"] for event in run.events}
    assert run.times("ready", "node").keys() == set("abcd")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system on which the scenario fits, and not what was recorded."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.usefixtures("nothing_left")
def test_results_move_from_a_disk_that_is_full(tmp_path: Path, small_disk: Path) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    runner = start("run", GOSSIP, "--out", small_disk / "run", *SHORT, TMPDIR=str(spare))
    output, _ = runner.communicate()
    assert "Traceback" not in output and "bug" not in output
    (moved,) = spare.glob("testbed-run-*")
    run = FinishedRun(moved, runner.returncode, output)
    assert (run.exit_code, run.summary["verdict"]) == (0, "passed"), output
    assert {path.stem for path in (moved / "logs").iterdir()} == set("abcd")
    assert (moved / "report.html").exists()
    assert str(moved) in output
    assert not (small_disk / "run").exists()


@pytest.mark.usefixtures("nothing_left")
def test_without_its_links_a_run_ends_and_says_nothing(tmp_path: Path) -> None:
    runner = start("run", GOSSIP, "--links", "userspace", "--out", tmp_path / "run", *SHORT, *IMPATIENT, *MEASURED)
    wait_for_stage(runner, "play")
    _companion(runner, relay.__name__).kill()
    output, _ = runner.communicate()
    run = FinishedRun(tmp_path / "run", runner.returncode, output)
    assert run.exit_code == 4, output
    assert run.summary["verdict"] == "invalid"
    assert "the relay of the links ended, and the links with it" in run.summary["fidelity"]["reasons"]


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.skipif(not metronome.needed(), reason="this kernel's own clock keeps to caps")
def test_without_its_metronome_a_run_says_so(tmp_path: Path) -> None:
    runner = start("run", GOSSIP, "--out", tmp_path / "run", *SHORT, *MEASURED)
    wait_for_stage(runner, "play")
    _companion(runner, metronome.__name__).kill()
    output, _ = runner.communicate()
    fidelity = FinishedRun(tmp_path / "run", runner.returncode, output).summary["fidelity"]
    assert fidelity["verdict"] == "distorted"
    assert "the metronome ended, so nodes had their CPU in lumps" in fidelity["reasons"]


@pytest.mark.usefixtures("nothing_left")
def test_a_node_that_hangs_does_not_keep_the_run_waiting(tmp_path: Path) -> None:
    runner = start("run", GOSSIP, "--out", tmp_path / "run", *SHORT, "--set", "workload.count=24", *IMPATIENT)
    wait_for_stage(runner, "play")
    container_of(runner, "a").pause()
    output, _ = runner.communicate()
    run = FinishedRun(tmp_path / "run", runner.returncode, output)
    of_a = {event["prompt"] for event in run.events if event["event"] == "prompt" and event["owner"] == "a"}
    answered_before = run.times("answer", "prompt").keys()
    assert run.summary["failures"].keys() == of_a - answered_before
    assert set(run.summary["failures"].values()) == {"a: does not answer"}


@pytest.mark.usefixtures("nothing_left")
def test_play_ends_at_its_limit_though_a_node_neither_answers_nor_dies(tmp_path: Path) -> None:
    runner = start(
        "run", GOSSIP, "--out", tmp_path / "run", *SHORT, *IMPATIENT, "--set", "workload.count=24", "--set", "limit=8s"
    )
    wait_for_stage(runner, "play")
    container_of(runner, "a").pause()
    output, _ = runner.communicate()
    run = FinishedRun(tmp_path / "run", runner.returncode, output)
    of_a = {event["prompt"] for event in run.events if event["event"] == "prompt" and event["owner"] == "a"}
    unanswered = of_a - run.times("answer", "prompt").keys()
    assert unanswered
    assert {run.summary["failures"][prompt] for prompt in unanswered} == {"the limit of 8s on play was over"}
    assert run.summary["invariants"] == []


@pytest.mark.usefixtures("nothing_left")
def test_two_runs_at_once_do_not_touch_each_other(run: Run) -> None:
    finished: list[FinishedRun] = []
    options = (*SHORT, "--set", "oversubscribe=true")
    threads = [threading.Thread(target=lambda: finished.append(run(GOSSIP, *options))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in finished:
        assert one.summary["metrics"]["completed"] == 1
        assert one.summary["metrics"]["inferences"] == 8 * 5


HOSTILE = """
import json, os, pathlib, socket, stat, subprocess

def tried(attempt, *arguments):
    try:
        attempt(*arguments)
    except OSError as error:
        return type(error).__name__
    return "done"

def fill(path):
    with open(path, "wb", buffering=0) as file:
        while file.write(bytes(2**20)):
            pass

sockets = [str(path) for path in pathlib.Path("/run").rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]
kernel = ["/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/sys/fs/cgroup/x"]
places = ["/x", "/etc/hosts", "/usr/x", "/run/x", "/var/run/docker.sock", *kernel]
written = {place: tried(open, place, "r+" if os.path.exists(place) else "w") for place in places}
hosts = ["172.17.0.1", "169.254.169.254", "192.0.2.1"]  # the engine's gateway, the metadata of clouds, anybody
reached = {host: tried(socket.create_connection, (host, 80), 2) for host in hosts}
children = []
try:
    while len(children) < 1000:
        children.append(subprocess.Popen(["sleep", "60"]))
except OSError:
    pass
for child in children:
    child.kill()
    child.wait()
tried(fill, "/tmp/x")
filled = os.path.getsize("/tmp/x")
os.remove("/tmp/x")
print(json.dumps({"sockets": sockets, "written": written, "reached": reached, "processes": len(children),
                  "tmp": filled, "root": tried(os.setuid, 0)}))
"""
"""Tries what code in a node must not be able to do, and says what came of it."""


class TestKept:
    """A run that is left standing, until `clean` removes it by its name."""

    @pytest.fixture(scope="class")
    @classmethod
    def kept(cls, run: Run) -> Iterator[str]:
        before = Remains.now()
        name = run(GOSSIP, *SHORT, "--keep").summary["run"]
        wait_for_watchers()
        yield name
        assert f"{name}: removed" in start("clean", name).communicate()[0]
        wait_for_watchers()
        assert Remains.now() == before

    def container(self, run: str, node: str) -> docker.models.containers.Container:
        return docker.from_env().containers.get(f"tb-{run}-{node}")

    def test_its_nodes_are_locked_up(self, kept: str) -> None:
        configuration = self.container(kept, "a").attrs
        host = configuration["HostConfig"]
        assert host["CapDrop"] == ["ALL"]
        assert host["ReadonlyRootfs"]
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert (host["NetworkMode"], configuration["NetworkSettings"]["SandboxKey"]) == ("none", "")
        assert host["LogConfig"]["Config"] == {"max-size": "16m", "max-file": "2"}
        assert host["Init"]
        assert configuration["Config"]["User"].split(":")[0] not in ("", "0", "root")

    def test_hostile_code_in_a_node_meets_its_walls(self, kept: str) -> None:
        attack = start("exec", "b", "--run", kept, "--", "python3", "-c", HOSTILE)
        found = json.loads(attack.communicate()[0])
        assert found["sockets"] == ["/run/node/agent.sock"]
        assert set(found["written"].values()) <= {"PermissionError", "OSError", "FileNotFoundError"}, found["written"]
        assert set(found["reached"].values()) == {"OSError"}, found["reached"]
        assert 20 < found["processes"] < 128
        assert found["tmp"] <= 16 * 2**20
        assert found["root"] == "PermissionError"
        again = start("exec", "b", "--run", kept, "--", "hostname")
        assert (again.communicate()[0].strip(), again.returncode) == ("b", 0)

    def test_its_nodes_are_capped(self, kept: str) -> None:
        host = self.container(kept, "a").attrs["HostConfig"]
        assert host["CpuPeriod"] == 10_000
        assert host["CpuQuota"] == 3_000
        assert host["Memory"] == host["MemorySwap"] == 160 * 2**20

    def test_its_weights_are_private_to_each_node(self, kept: str) -> None:
        output = self.container(kept, "a").exec_run(["sh", "-c", "cat /proc/[0-9]*/maps"]).output.decode()
        assert "libllama" in output
        assert "/model.gguf" not in output

    def test_a_shell_opens_in_a_node(self, kept: str) -> None:
        shell = subprocess.run(
            [sys.executable, "-m", "testbed", "shell", "b", "--run", kept],
            input="hostname; id -u; ls /sys/class/net; cut -d' ' -f2 /etc/hosts\n",
            capture_output=True,
            text=True,
            check=False,
            cwd=PROJECT,
        )
        assert shell.stdout.split() == ["b", "1000", "eth0", "lo", "localhost", "a", "b", "c", "d"]

    def test_it_is_listed_and_found_by_its_directory(self, kept: str) -> None:
        (standing,) = [one for one in json.loads(start("ps", "--json").communicate()[0]) if one["run"] == kept]
        assert standing["state"] == "kept"
        assert standing["nodes"] == ["a", "b", "c", "d"]
        inside = start("exec", "c", "--run", standing["directory"], "--", "hostname")
        assert (inside.communicate()[0].strip(), inside.returncode) == ("c", 0)

    def test_the_log_of_a_node_is_printed(self, kept: str) -> None:
        logs = start("logs", "a", "--run", kept)
        logs.communicate()
        assert logs.returncode == 0
        assert start("logs", "x", "--run", kept).communicate()[0].strip().endswith("its nodes are a, b, c, d")

    def test_any_client_of_the_openai_api_can_use_a_node(self, kept: str) -> None:
        program = (
            "import json, urllib.request as u;"
            "m = [{'role': 'user', 'content': 'What is 2 plus 3?'}];"
            "b = json.dumps({'model': 'zoo/alpha', 'messages': m}).encode();"
            "r = u.Request('http://10.0.0.1:8080/v1/chat/completions', b, {'Content-Type': 'application/json'});"
            "a = json.load(u.urlopen(r)); print(a['object'], a['choices'][0]['message']['role'], a['usage'])"
        )
        answer = self.container(kept, "b").exec_run(["python3", "-c", program]).output.decode()
        assert answer.startswith("chat.completion assistant {'prompt_tokens': ")

    def test_clean_spares_it(self, kept: str) -> None:
        assert f"{kept}: was kept" in start("clean").communicate()[0]
        assert self.container(kept, "a").status == "running"


def _companion(runner: "subprocess.Popen[str]", module: str) -> psutil.Process:
    """The process of a run that executes a module."""
    (found,) = [process for process in psutil.Process(runner.pid).children() if module in process.cmdline()]
    return found
