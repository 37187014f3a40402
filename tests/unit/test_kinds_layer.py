"""What other people's kinds bring into the node image."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.core.errors import HostError
from testbed.core.registry import FileOrigin, KindError, PackageOrigin
from testbed.host.image.kinds import kinds_layer, reference_inside
from testbed.node.config import NodeConfig


def _install(site: Path, name: str, version: str, code: str, requires: str = "") -> PackageOrigin:
    """A distribution in ``site``, whose one module is named after it."""
    module = name.replace("-", "_")
    (site / module).mkdir(parents=True, exist_ok=True)
    (site / module / "__init__.py").write_text(code)
    info = site / f"{module}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
    return PackageOrigin(name, version, f"{module}:Kind")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that Python finds packages in."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("kinds_")]:
        del sys.modules[name]


def test_other_code_makes_another_layer_though_the_version_is_the_same(site: Path) -> None:
    origin = _install(site, "kinds-one", "1.0", "a = 1\n")
    before = kinds_layer([origin]).tag("below")
    assert kinds_layer([origin]).tag("below") == before
    _install(site, "kinds-one", "1.0", "a = 2\n")
    assert kinds_layer([origin]).tag("below") != before


def test_another_version_of_what_it_needs_makes_another_layer(site: Path) -> None:
    origin = _install(site, "kinds-two", "1.0", "", requires="kinds-needed")
    _install(site, "kinds-needed", "1.0", "")
    before = kinds_layer([origin]).tag("below")
    (site / "kinds_needed-1.0.dist-info").rename(site / "kinds_needed-2.0.dist-info")
    _install(site, "kinds-needed", "2.0", "")
    assert kinds_layer([origin]).tag("below") != before


def test_what_a_node_has_already_is_not_taken_again(site: Path) -> None:
    before = kinds_layer([_install(site, "kinds-three", "1.0", "", requires="pydantic")]).tag("below")
    assert kinds_layer([_install(site, "kinds-three", "1.0", "")]).tag("below") == before


def test_what_is_not_installed_is_named_with_the_command_that_mends_it(site: Path) -> None:
    origin = _install(site, "kinds-four", "1.0", "", requires="kinds-nowhere")
    with pytest.raises(HostError, match="the package kinds-nowhere is not installed; to mend it: pip install kinds-no"):
        kinds_layer([origin])


def test_a_file_is_found_inside_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "quorum.py"
    file.write_text("class Quorum: ...\n")
    origin = FileOrigin(file, "0" * 64, "Quorum")
    assert reference_inside(origin) == "/opt/testbed/kinds/quorum.py:Quorum"
    before = kinds_layer([origin]).tag("below")
    file.write_text("class Quorum: pass\n")
    assert kinds_layer([origin]).tag("below") != before


def test_a_node_with_another_version_of_a_package_is_refused(site: Path) -> None:
    _install(site, "kinds-five", "1.0", "")
    written = {"name": "a", "address": "10.0.0.1", "neighbours": {}, "packages": {"kinds-five": "1.1"}}
    with pytest.raises(KindError, match=r"the host has kinds-five 1\.1 and node 'a' has 1\.0; install 1\.1"):
        NodeConfig.model_validate(written)
