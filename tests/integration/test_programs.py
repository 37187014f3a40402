"""Images of others as nodes: a plain HTTP server, a program that ends by itself, one that never becomes ready."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import docker
import pyarrow.parquet
import pytest
from observed import FinishedRun

from testbed.host.image import chosen_base, ensure_image
from testbed.host.image.base import base_layer

BUSYBOX: Final = Path("/usr/bin/busybox")  # Debian's busybox-static, which needs nothing of an image

SERVER: Final = '''
"""A plain HTTP server that speaks as much of the OpenAI API as it must, and tells what it may not do."""
import json, os, pathlib, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def refused(act):
    try:
        act()
    except OSError as error:
        return error.strerror
    return "allowed"

def threads():
    gate = threading.Event()
    count = 0
    try:
        while count < 100:
            threading.Thread(target=gate.wait, daemon=True).start()
            count += 1
    except RuntimeError:
        pass
    gate.set()
    return count

facts = {
    "user": os.getuid(),
    "root": refused(lambda: pathlib.Path("/etc/x").write_text("x")),
    "given": refused(lambda: pathlib.Path("/given/words.txt").write_text("x")),
    "words": pathlib.Path("/given/words.txt").read_text(),
    "walls": [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapBnd", "NoNew"))],
    "threads": threads(),
    "secret": len(os.environ["TOKEN"]),
}
pathlib.Path("/run/node/facts.json").write_text(json.dumps(facts))
print("my token is", os.environ["TOKEN"], flush=True)

def chunk(**content):
    return b"data: " + json.dumps(content).encode() + b"\\n\\n"

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        for word in ("you", " said", " something"):
            self.wfile.write(chunk(choices=[{"index": 0, "delta": {"content": word}}]))
        usage = {"prompt_tokens": len(asked["messages"][0]["content"].split()), "completion_tokens": 3}
        self.wfile.write(chunk(choices=[], usage=usage))

ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
'''

TOPOLOGY: Final = """
name: programs
defaults: {link: {bandwidth: 20mbit, delay: 5ms}}
nodes:
  web:
    image: testbed-test:http
    command: [python3, /given/server.py]
    cpus: 0.3
    memory: 96MiB
    processes: 20
    files: {/given/server.py: server.py, /given/words.txt: words.txt}
    environment: {TOKEN: "env:TESTBED_TEST_TOKEN"}
    out: [facts.json, nothing.txt]
    ready: {http: 8000}
    answers: {openai: 8000, model: m}
  job:
    image: testbed-test:ends
    cpus: 0.1
    memory: 16MiB
    after: [web]
links: [{endpoints: [web, job]}]
"""

SCENARIO: Final = """
name: programs
topology: topology.yaml
pattern: alone
workload: {prompts: worldfacts, arrivals: {process: constant, rate: 2/s}, count: 4}
timeline:
  - {at: 0.2s, kill: web, for: 0.2s}
expect:
  - {nodes: {job: exited}}
"""

TOKEN: Final = "a-secret-that-stands-nowhere"


@pytest.fixture(scope="module", autouse=True)
def images() -> Iterator[None]:
    """Images as others have them: one with Python, and two that hold one static program each."""
    engine = docker.from_env()
    ensure_image(engine, print)
    engine.images.get(chosen_base() or base_layer().tag("")).tag("testbed-test", "http")
    for tag, seconds in (("ends", "1"), ("silent", "1000")):
        program = [
            "CMD "
            + json.dumps(
                [
                    "/bin/busybox",
                    "sh",
                    "-c",
                    f"/bin/busybox wget -q -O - http://web:8000/ || :; /bin/busybox sleep {seconds}",
                ]
            )
        ]
        engine.api.import_image_from_data(_archive(), "testbed-test", tag, changes=program)
    yield
    for tag in ("http", "ends", "silent"):
        engine.images.remove(f"testbed-test:{tag}")


def _archive() -> bytes:
    """A root filesystem with one static program."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.add(BUSYBOX, "bin/busybox")
        for folder in ("run/node", "tmp", "etc", "proc", "dev", "sys"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
    return data.getvalue()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, run: Callable[..., FinishedRun]) -> FinishedRun:
    """A run in which the server is killed and comes back, and the other program ends by itself."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "topology.yaml").write_text(TOPOLOGY)
    (folder / "scenario.yaml").write_text(SCENARIO)
    (folder / "server.py").write_text(SERVER)
    (folder / "words.txt").write_text("of the host")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TESTBED_TEST_TOKEN", TOKEN)
        return run(folder / "scenario.yaml", "--fidelity", "off")


def test_a_server_of_others_answers_prompts_and_ends_and_comes_back(world: FinishedRun) -> None:
    assert world.exit_code == 0, world.output
    ends = [event for event in world.events if event["event"] == "end"]
    assert {end["text"] for end in ends} == {"you said something"}
    assert {end["tokens"] for end in ends} == {3}
    texts = {event["prompt"]: event["text"] for event in world.events if event["event"] == "prompt"}
    assert all(end["prompt_tokens"] == len(texts[end["job"].partition(".")[0]].split()) for end in ends)
    exits = [event["t"] for event in world.events if event["event"] == "exited" and event["who"] == "web"]
    returned = any(end["t"] > t for end in ends for t in exits)  # on a busy host it may be killed after the last prompt
    assert (
        len([event for event in world.events if event["event"] == "ready" and event["node"] == "web"]) == 1 + returned
    )
    assert world.summary["invariants"] == []


def test_a_program_that_ends_by_itself_is_told_with_its_exit_status(world: FinishedRun) -> None:
    assert world.summary["nodes"]["job"]["state"] == "ended with code 0"
    assert (world.path / "logs" / "job.log").read_text() == "hello"  # it found the other by its name


def test_a_program_has_no_more_than_it_was_given(world: FinishedRun) -> None:
    facts: dict[str, Any] = json.loads((world.path / "files" / "web" / "facts.json").read_text())
    assert facts["user"] != 0
    assert facts["root"] == facts["given"] == "Read-only file system"
    assert facts["words"] == "of the host"
    assert facts["walls"] == ["0000000000000000", "0000000000000000", "1"]
    assert 0 < facts["threads"] < 20
    assert not (world.path / "files" / "web" / "nothing.txt").exists()


def test_a_secret_reaches_the_program_and_stands_in_no_file(world: FinishedRun) -> None:
    facts = json.loads((world.path / "files" / "web" / "facts.json").read_text())
    assert facts["secret"] == len(TOKEN)
    assert "my token is env:TESTBED_TEST_TOKEN" in (world.path / "logs" / "web.log").read_text()
    holding = [path for path in world.path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert holding == []
    assert TOKEN not in world.output


def test_its_memory_and_cpu_are_sampled_and_its_cap_is_kept(world: FinishedRun) -> None:
    rows = [
        row for row in pyarrow.parquet.read_table(world.path / "samples.parquet").to_pylist() if row["node"] == "web"
    ]
    assert rows
    assert all(0 < row["memory_peak"] <= 96 * 2**20 for row in rows)
    assert rows[-1]["cpu"] >= rows[0]["cpu"] > 0


@pytest.mark.usefixtures("nothing_left")
def test_a_program_that_never_becomes_ready_is_named_with_what_it_lacks(
    tmp_path: Path, run: Callable[..., FinishedRun]
) -> None:
    ready = "ready: {tcp: 50052, within: 1s}, answers: {command: [x]}"
    node = f"{{image: 'testbed-test:silent', cpus: 0.1, memory: 16MiB, {ready}}}"
    (tmp_path / "topology.yaml").write_text(f"name: one\nnodes:\n  peer: {node}\n")
    (tmp_path / "scenario.yaml").write_text(SCENARIO.partition("timeline")[0])
    silent = run(tmp_path / "scenario.yaml")
    assert silent.exit_code == 3
    assert "node 'peer' was not ready within 1 s: nothing listens on TCP port 50052" in silent.output
