"""All traffic of nodes goes through one package, so that it can be encrypted and authenticated there."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import testbed.node

NODE = Path(testbed.node.__file__).parent
DOOR = NODE / "transport"

SOCKET_MODULES = {"socket", "ssl", "socketserver", "http", "urllib.request", "httpx", "requests"}

OPENING = {
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
    "create_connection",
    "create_unix_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_server",
    "sock_connect",
    "AppRunner",
    "TCPSite",
    "UnixSite",
    "SockSite",
    "run_app",
    "ClientSession",
    "TCPConnector",
    "UnixConnector",
}

OURS = ("testbed.node", "testbed.patterns")


def _modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", [path for path in _modules(NODE) if DOOR not in path.parents], ids=str)
def test_nothing_beside_the_door_opens_a_connection(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = set(_imports(tree))
    assert not imported & SOCKET_MODULES
    assert {name for name in imported if name.startswith("aiohttp.")} <= {
        "aiohttp.web",
        "aiohttp.typedefs",
        "aiohttp.typedefs.Handler",
    }
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not named & OPENING


@pytest.mark.parametrize("path", _modules(DOOR), ids=str)
def test_the_door_knows_nothing_of_what_goes_through_it(path: Path) -> None:
    imported = _imports(ast.parse(path.read_text(encoding="utf-8")))
    assert [name for name in imported if name.startswith(OURS) and not name.startswith("testbed.node.transport")] == []


def test_the_door_is_small_enough_to_be_changed_as_a_whole() -> None:
    assert len([path for path in _modules(DOOR) if path.name != "__init__.py"]) <= 10
