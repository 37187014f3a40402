"""The node image: what its tag depends on, and that it holds whatever a node imports."""

import ast
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.host import image
from testbed.host.image import ImageError, base, building, layer, packages, stack

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "one.py").write_text("1\n")
    (tmp_path / "alone.py").write_text("2\n")
    (tmp_path / "other.py").write_text("3\n")
    return tmp_path


def _digest(folder: Path) -> str:
    return layer.digest(layer.contents(["code", "alone.py"], folder))


def test_a_digest_changes_with_content_name_and_number_of_files(folder: Path) -> None:
    digests = [_digest(folder)]
    (folder / "code" / "one.py").write_text("changed\n")
    digests.append(_digest(folder))
    (folder / "code" / "one.py").rename(folder / "code" / "two.py")
    digests.append(_digest(folder))
    (folder / "code" / "empty.py").touch()
    digests.append(_digest(folder))
    assert len(set(digests)) == len(digests)


def test_a_digest_does_not_change_with_files_that_are_not_part_of_it(folder: Path) -> None:
    before = _digest(folder)
    (folder / "other.py").write_text("changed\n")
    (folder / "code" / "__pycache__").mkdir()
    (folder / "code" / "__pycache__" / "one.cpython-311.pyc").write_bytes(b"compiled")
    assert _digest(folder) == before


def test_a_digest_sees_the_border_between_two_parts() -> None:
    assert layer.digest(["ab", "c"]) != layer.digest(["a", "bc"])


def test_the_copies_of_a_library_become_links_to_it(tmp_path: Path) -> None:
    for name in ("libx-y.so", "libx-y.so.0", "libx-y.so.0.5.0"):
        (tmp_path / name).write_text("library")
    packages.link_names(tmp_path / "libx-y.so.0.5.0")
    assert (tmp_path / "libx-y.so").readlink() == (tmp_path / "libx-y.so.0").readlink() == Path("libx-y.so.0.5.0")
    assert (tmp_path / "libx-y.so").read_text() == "library"


def test_what_goes_into_the_image_can_be_read_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "one.py").touch()
        (tmp_path / "code" / "gone.py").symlink_to("nowhere")
    finally:
        os.umask(before)
    building.let_everyone_read(tmp_path)
    assert (tmp_path / "code").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "code" / "one.py").stat().st_mode & 0o777 == 0o644


def test_a_base_is_remembered_until_the_local_one_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    made: list[str] = []

    def make_layers(_client: object, _report: object, base: str, _kinds: object) -> str:
        made.append(base)
        if base == "broken":
            raise ImageError("it is broken")
        return "tag"

    monkeypatch.setattr(stack, "_ensure_layers", make_layers)
    for name in (None, "mine:1", None, "local", None, "mine:1", "", None):
        image.ensure_image(None, print, name)
    assert made == ["", "mine:1", "mine:1", "local", "", "mine:1", "", ""]
    with pytest.raises(ImageError):
        image.ensure_image(None, print, "broken")
    assert image.chosen_base() == ""


def test_a_release_without_a_code_name_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"NAME": "Alpine Linux", "ID": "alpine"})
    with pytest.raises(ImageError, match=r"Alpine Linux has no release .*\n.*--base IMAGE"):
        image.ensure_image(None, print, "local")


def test_a_host_without_mmdebstrap_is_told_of_other_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ImageError, match=r"mmdebstrap.*\n.*--base IMAGE"):
        base.build_base(None, "testbed-base:0", "")


def _imported_modules(source: Path) -> Iterator[str]:
    tree = ast.parse(source.read_text())
    typing = [statement for block in tree.body if _is_for_types(block) for statement in ast.walk(block)]
    for statement in [statement for statement in ast.walk(tree) if statement not in typing]:
        if isinstance(statement, ast.Import):
            yield from (name.name for name in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield statement.module
            yield from (f"{statement.module}.{name.name}" for name in statement.names)


def _is_for_types(block: ast.stmt) -> bool:
    return isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"


def test_the_image_holds_every_module_of_the_project_that_a_node_imports() -> None:
    held = set(layer.found_files(image.NODE_CODE, PROJECT))
    for file in held:
        for module in _imported_modules(PROJECT / file):
            path = Path(*module.split("."))
            needed = [found for found in (path.with_suffix(".py"), path / "__init__.py") if (PROJECT / found).is_file()]
            assert module.split(".")[0] != "testbed" or held.issuperset(needed), f"{file} imports {module}"
