"""An engine that is killed while a run plays: an engine of the test's own, which nobody else uses."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException
from observed import GOSSIP, FinishedRun, start, wait_for_stage

_START_SECONDS = 60.0


class Engine:
    """A Docker engine with a directory and a socket of its own."""

    def __init__(self, directory: Path) -> None:
        self.address = f"unix://{directory}/engine.sock"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = ["dockerd", "--host", self.address, "--data-root", f"{self._directory}/data"]
        command += ["--exec-root", f"{self._directory}/exec", "--pidfile", f"{self._directory}/engine.pid"]
        command += ["--bridge", "none", "--iptables=false", "--ip-masq=false", "--containerd-namespace", "tb-test"]
        with (self._directory / "engine.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline and self._process.poll() is None, "the engine does not start"
            time.sleep(0.1)

    def take(self, images: list[str]) -> None:
        """Copy images from the host's engine."""
        saved = subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE)
        subprocess.run(["docker", "--host", self.address, "load"], stdin=saved.stdout, check=True, capture_output=True)
        assert saved.wait() == 0

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Remove what is left in it, and end it."""
        assert self._process is not None
        if self._process.poll() is not None:
            self.start()
        with closing(docker.DockerClient(base_url=self.address)) as client:
            for container in client.containers.list(all=True):
                container.remove(force=True)
        self._process.terminate()
        self._process.wait()
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in sorted((place for place in mounted if place.startswith(str(self._directory))), reverse=True):
            subprocess.run(["umount", "--lazy", place], check=True)  # a killed engine leaves its own behind

    def _answers(self) -> bool:
        with suppress(DockerException, OSError), closing(docker.DockerClient(base_url=self.address)) as client:
            return bool(client.ping())
        return False


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine that has the images of the testbed."""
    engine = Engine(tmp_path)
    engine.start()
    try:
        tags = [tag for image in docker.from_env().images.list() for tag in image.tags]
        engine.take([tag for tag in tags if tag.startswith("testbed-node")])
        yield engine
    finally:
        engine.stop()


def test_a_run_whose_engine_is_killed_keeps_its_traces(engine: Engine, tmp_path: Path) -> None:
    more = ("--fidelity", "off", "--set", "workload.count=8", "--set", "workload.arrivals.rate=1/s")
    runner = start("run", GOSSIP, "--out", tmp_path / "run", *more, DOCKER_HOST=engine.address)
    wait_for_stage(runner, "play")
    engine.kill()
    output, _ = runner.communicate()
    assert "Traceback" not in output and "bug" not in output
    assert (tmp_path / "run" / "summary.json").exists(), output
    run = FinishedRun(tmp_path / "run", runner.returncode, output)
    assert run.exit_code == 3, output
    assert run.summary["metrics"]["completed"] == 1
    assert "could not be removed" in output and "sudo ./tb clean" in output
    engine.start()
    cleaned = start("clean", DOCKER_HOST=engine.address)
    said, _ = cleaned.communicate()
    assert cleaned.returncode == 0, said
    with closing(docker.DockerClient(base_url=engine.address)) as client:
        assert client.containers.list(all=True) == []
    assert not Path("/run/testbed", run.summary["run"]).exists()
