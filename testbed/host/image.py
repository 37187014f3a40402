"""The node image: made on this host, with neither a registry nor a network during the build.

    base      the few Debian or Ubuntu packages that Python and llama.cpp need, or an image that the user names
    packages  the node's Python packages, resolved and unpacked on the host
    code      the part of the project that runs inside a node

Each layer is an image of its own, tagged with a hash of everything that went into it and into those below. So what is
there already is never built again, a change of the code rebuilds the last layer alone, and an unchanged image is
recognised by its tag. Images of code that nobody has run for a day go when the next one is made.
"""

import fcntl
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import docker
from docker.errors import APIError, BuildError, DockerException, ImageNotFound

from testbed.core.cache import cache_folder
from testbed.core.errors import HostError

NODE_UID = 1000
"""The user and the group that a node's agent runs as."""

NODE_CODE = (
    "testbed/__init__.py",
    "testbed/core/__init__.py",
    "testbed/core/clock.py",
    "testbed/core/seeds.py",
    "testbed/core/units.py",
    "testbed/node",
    "testbed/patterns",
)
"""What the image holds of the project: files, and folders with all that is in them."""

BASE_PACKAGES = ("busybox-static", "libgomp1", "libstdc++6", "python3")
"""What the base is made of, with what these depend on; busybox is the shell."""

_BASE_WITHOUT = ("etc/apt", "usr/bin/dpkg*", "usr/lib/*/gconv", "usr/share/*", "var/*")
_NODE = "testbed-node"
_KEPT = timedelta(days=1)  # how long an image of other code outlives its last use
_LOCAL = ("", "local")  # in place of a base's name: the one that is made here
_LOCK = "images/node/requirements.lock"
_LLAMA_LOCK = "images/node/llama-cpp-python.lock"
_PACKAGES_DOCKERFILE = "images/node/Dockerfile.packages"
_CODE_DOCKERFILE = "images/node/Dockerfile"
_PACKAGES = (_PACKAGES_DOCKERFILE, _LOCK, _LLAMA_LOCK)
_PROJECT = Path(__file__).parents[2]

_AGAIN = "sudo ./tb image"
_OTHER_BASE = "sudo .venv/bin/testbed image --base IMAGE"  # not by tb, which only goes where apt is
_PYTHON_PROBE = """
import os, sys
print("%d.%d" % sys.version_info[:2], os.confstr("CS_GNU_LIBC_VERSION").split(".")[-1])
"""


class ImageError(HostError):
    """The image cannot be made: why, and the command that mends it."""

    def __init__(self, why: str, mend: str = _AGAIN) -> None:
        super().__init__(f"{why}\nto mend it: {mend}")


def ensure_image(client: docker.DockerClient, report: Callable[[str], None], base: str | None = None) -> str:
    """Make what is missing of the node image and return its tag.

    ``report`` is told the name of each step that takes time. ``base`` is an image to use instead of one made here, now
    and in later calls without a base; ``local`` goes back to the one made here.
    """
    try:
        tag = _ensure_layers(client, report, chosen_base() if base is None else base)
        if base is not None:
            _choose_base(base)
        return tag
    except (DockerException, OSError, subprocess.CalledProcessError) as error:
        raise ImageError(f"the node image cannot be made: {error}", mend="sudo ./tb doctor") from error


def _ensure_layers(client: docker.DockerClient, report: Callable[[str], None], base: str) -> str:
    base_tag = f"testbed-base:{_digest(_base_recipe())}" if base in _LOCAL else _named_base(client, report, base)
    packages_tag = f"testbed-packages:{_digest([base_tag, _llama_recipe(), *_contents(_PACKAGES)])}"
    node_tag = f"{_NODE}:{_digest([packages_tag, *_contents([_CODE_DOCKERFILE, *NODE_CODE])])}"
    if _present(client, node_tag):
        _mark_used(client, node_tag)
        return node_tag
    steps: tuple[tuple[str, str, Callable[[], None]], ...] = (
        (base_tag, "building the base image", partial(_build_base, client, base_tag)),
        (packages_tag, "adding the node's packages", partial(_build_packages, client, packages_tag, base_tag)),
        (node_tag, "adding the node's code", partial(_build_code, client, node_tag, packages_tag)),
    )
    with _one_at_a_time(report):
        for tag, name, build in steps:
            if not _present(client, tag):
                report(name)
                build()
        _remove_unused(client, _NODE, before=datetime.now(UTC) - _KEPT)
    return node_tag


def _present(client: docker.DockerClient, tag: str) -> bool:
    try:
        client.images.get(tag)
    except ImageNotFound:
        return False
    return True


# --- what a layer is made of ------------------------------------------------------------------------------------------


def _base_recipe() -> list[str | bytes]:
    return [_release(), platform.machine(), *BASE_PACKAGES, *_BASE_WITHOUT]


def _llama_recipe() -> str:
    """What `tb` built the wheel of llama-cpp-python from; empty where somebody else built it."""
    recipe = cache_folder() / "wheels" / "llama-cpp-python.recipe"
    return recipe.read_text() if recipe.exists() else ""


def _contents(paths: Sequence[str], root: Path = _PROJECT) -> list[str | bytes]:
    """Names and contents of the files, for a digest."""
    return [part for file in _files(paths, root) for part in (str(file), (root / file).read_bytes())]


def _files(paths: Sequence[str], root: Path = _PROJECT) -> list[Path]:
    """Every file that the paths name, relative to ``root``; compiled Python is not one of them."""
    found = {file for path in map(root.joinpath, paths) for file in (path, *path.rglob("*")) if file.is_file()}
    return sorted(file.relative_to(root) for file in found if file.suffix != ".pyc")


def _digest(parts: Sequence[str | bytes]) -> str:
    """Twelve hexadecimal digits that differ wherever the parts, or the borders between them, do."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:12]


# --- which images are kept --------------------------------------------------------------------------------------------


def _mark_used(client: docker.DockerClient, tag: str) -> None:
    """Tag it once more: Docker notes when an image was last tagged, and that is all it can note of its use."""
    client.images.get(tag).tag(*tag.split(":"))


def _last_used(client: docker.DockerClient, tag: str) -> datetime:
    tagged = client.images.get(tag).attrs["Metadata"].get("LastTagTime")
    return datetime.fromisoformat(tagged) if tagged else datetime.now(UTC)


def _remove_unused(client: docker.DockerClient, repository: str, before: datetime) -> None:
    """Remove the tags made here that were last used ``before`` that time."""
    for tag in [tag for row in client.api.images(repository) for tag in row["RepoTags"] or ()]:
        with suppress(APIError):  # a container has it, so Docker does not remove it; or it is gone already
            if re.fullmatch(rf"{repository}:[0-9a-f]{{12}}", tag) and _last_used(client, tag) < before:
                client.images.remove(tag)


# --- base -------------------------------------------------------------------------------------------------------------


def _named_base(client: docker.DockerClient, report: Callable[[str], None], name: str) -> str:
    """The id of the image that the user named, pulled if it is not here. A tag may move to another image, an id not."""
    if not _present(client, name):
        report(f"pulling {name}")
        try:
            client.images.pull(name)
        except DockerException as error:
            mend = f"{_OTHER_BASE}, with an image that can be had, or with `local` for one made here"
            raise ImageError(f"{name} cannot be pulled: {error}", mend) from error
    return str(client.images.get(name).id)


def chosen_base() -> str:
    """The image that the user named as the base; empty if it is one made here."""
    return _base_file().read_text() if _base_file().exists() else ""


def _choose_base(name: str) -> None:
    cache_folder().mkdir(parents=True, exist_ok=True)
    _base_file().write_text("" if name in _LOCAL else name)


def _base_file() -> Path:
    return cache_folder() / "base"


def _build_base(client: docker.DockerClient, tag: str) -> None:
    if shutil.which("mmdebstrap") is None:
        mend = f"sudo apt-get install mmdebstrap, or {_OTHER_BASE}"
        raise ImageError("the base is made by mmdebstrap, which is not installed", mend)
    with _work_folder() as work:
        options, tree, archive = work / "apt.conf", work / "tree", work / "base.tar"
        options.write_text(_output("apt-config", "dump", "Acquire"))  # proxies and the like, as the host's apt has them
        _run(
            "mmdebstrap",
            "--variant=extract",  # the packages' files alone, without what only an installation needs
            "--skip=output/dev",  # a container has devices of its own
            f"--include={','.join(BASE_PACKAGES)}",
            f"--aptopt={options}",
            "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
            _release(),
            str(tree),
            *_apt_sources(),
            mend=f"sudo apt-get update && {_AGAIN}",
        )
        _trim_base(tree)
        _run("tar", "--create", "--numeric-owner", f"--directory={tree}", f"--file={archive}", ".")
        client.api.import_image_from_file(str(archive), *tag.split(":"))


def _trim_base(tree: Path) -> None:
    """Remove what a node can do without, and give busybox's commands their names where nothing else has them."""
    for path in [path for pattern in _BASE_WITHOUT for path in tree.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    commands = tree / "bin"
    for name in _output(str(commands / "busybox"), "--list").split():
        if not (commands / name).exists():
            (commands / name).symlink_to("busybox")


def _release() -> str:
    """The code name by which apt and mmdebstrap know the host's release."""
    names = platform.freedesktop_os_release()
    if "VERSION_CODENAME" not in names:
        raise ImageError(f"{names['NAME']} has no release that a base could be made of", mend=_OTHER_BASE)
    return names["VERSION_CODENAME"]


def _apt_sources() -> list[str]:
    """Where the host's apt finds the packages of its own release; sources of third parties are left out."""
    form = "$(ORIGIN)|$(CODENAME)|$(REPO_URI) $(RELEASE) $(COMPONENT)"
    rows = _output("apt-get", "indextargets", "--format", form, "Created-By: Packages").splitlines()
    sources = [
        f"deb [signed-by=/usr/share/keyrings/{origin.lower()}-archive-keyring.gpg] {source}"
        for origin, release, source in (row.split("|") for row in rows)
        if origin in ("Debian", "Ubuntu") and release.startswith(_release())
    ]
    if not sources:
        raise ImageError(f"apt has no list of {_release()}'s packages", mend=f"sudo apt-get update && {_AGAIN}")
    return sources


# --- packages ---------------------------------------------------------------------------------------------------------


def _build_packages(client: docker.DockerClient, tag: str, base_tag: str) -> None:
    fits = _pip_options(client, base_tag)
    wheels = cache_folder() / "wheels"
    llama = (_PROJECT / _LLAMA_LOCK).read_text().split()[0]
    with _work_folder() as work:
        target = work / "packages"
        lock = ("--require-hashes", "-r", str(_PROJECT / _LOCK))
        install = ("install", "--no-index", "--find-links", str(wheels), "--target", str(target), "--no-compile")
        try:
            _pip(*install, *fits, *lock)
        except ImageError:  # not all of them are in the cache yet
            _pip("download", "--dest", str(wheels), *fits, *lock)
            _pip(*install, *fits, *lock)
        _pip(*install, "--upgrade", *fits, llama)
        _slim(target)
        _build(client, tag, base_tag, work, _PACKAGES_DOCKERFILE)


def _pip_options(client: docker.DockerClient, base_tag: str) -> list[str]:
    """What tells pip to take wheels for the base's Python and C library rather than for the host's."""
    probe = ["python3", "-c", _PYTHON_PROBE]
    answer: bytes = client.containers.run(base_tag, probe, entrypoint="", network_mode="none", remove=True)
    python, libc = answer.decode().split()
    machine = platform.machine()
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(int(libc), 16, -1)]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    options = ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    return [*options, *(f"--platform={name}" for name in platforms)]


def _pip(*arguments: str) -> None:
    _run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)


def _slim(packages: Path) -> None:
    """Remove what no node needs: tests, type stubs, programs, and llama.cpp's second and third copies of itself."""
    for name in ("bin", "include", "lib"):
        shutil.rmtree(packages / name, ignore_errors=True)
    for folder in list(packages.rglob("tests")):
        shutil.rmtree(folder)
    for stub in packages.rglob("*.pyi"):
        stub.unlink()
    for library in (packages / "llama_cpp" / "lib").glob("*.so.*.*.*"):
        _link_names(library)


def _link_names(library: Path) -> None:
    """Make libx.so and libx.so.0 links to libx.so.0.1.2: a wheel cannot hold links, so it has three copies."""
    for name in (library.with_suffix("").with_suffix(""), library.with_suffix("").with_suffix("").with_suffix("")):
        name.unlink(missing_ok=True)
        name.symlink_to(library.name)


# --- code -------------------------------------------------------------------------------------------------------------


def _build_code(client: docker.DockerClient, tag: str, packages_tag: str) -> None:
    with _work_folder() as work:
        for file in _files(NODE_CODE):
            (work / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(_PROJECT / file, work / file)
        _build(client, tag, packages_tag, work, _CODE_DOCKERFILE)


# --- tools ------------------------------------------------------------------------------------------------------------


def _build(client: docker.DockerClient, tag: str, parent: str, context: Path, dockerfile: str) -> None:
    _let_everyone_read(context)
    try:
        client.images.build(
            path=str(context),
            dockerfile=str(_PROJECT / dockerfile),
            tag=tag,
            buildargs={"PARENT": parent, "UID": str(NODE_UID)},
            network_mode="none",
            rm=True,
            forcerm=True,
        )
    except BuildError as error:
        log = "".join(str(line.get("stream", "")) for line in error.build_log)
        raise ImageError(f"{dockerfile} cannot be built: {error}\n{_tail(log)}") from error


def _let_everyone_read(folder: Path) -> None:
    """Whatever the umask here is: in the image the files are root's, and an agent is another user."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))


def _run(*command: str, mend: str = _AGAIN) -> None:
    name = Path(command[0]).name
    log = cache_folder() / "logs" / f"image-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT).returncode
    if status:
        raise ImageError(f"{name} failed:\n{_tail(log.read_text())}\nall of it: {log}", mend)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _tail(log: str) -> str:
    return "\n".join(f"  {line}" for line in log.strip().splitlines()[-5:])


@contextmanager
def _work_folder() -> Iterator[Path]:
    """A folder in the cache, which unlike /tmp is never a small tmpfs; removed at the end."""
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="image-") as name:
        yield Path(name)


@contextmanager
def _one_at_a_time(report: Callable[[str], None]) -> Iterator[None]:
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "image.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another build of the image")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
