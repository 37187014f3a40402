"""The first layer: Python and llama.cpp's libraries, from the host's release or from an image that the user names."""

import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import docker
from docker.errors import DockerException, ImageNotFound

from testbed.core.cache import cache_folder
from testbed.host.image.building import AGAIN, ImageError, output_of, run_command, work_folder
from testbed.host.image.layer import Layer

BASE_PACKAGES: Final = ("busybox-static", "libgomp1", "libstdc++6", "python3")
"""Packages of the base; mmdebstrap adds their dependencies. busybox is the shell."""

LOCAL: Final = ("", "local")
"""Names that stand for the base made here."""

_WITHOUT: Final = ("etc/apt", "usr/bin/dpkg*", "usr/lib/*/gconv", "usr/share/*", "var/*")
_OTHER_BASE: Final = "sudo .venv/bin/testbed image --base IMAGE"  # not ./tb, which needs apt


def base_layer() -> Layer:
    """The base made here; raises ImageError if the host's release has no code name."""
    parts = [_release(), platform.machine(), *BASE_PACKAGES, *_WITHOUT]
    return Layer("testbed-base", "building the base image", parts, build_base)


def named_base(client: docker.DockerClient, report: Callable[[str], None], name: str) -> str:
    """The id of an image that the user named, pulled if it is not here. The id, since a tag may move."""
    if not present(client, name):
        report(f"pulling {name}")
        try:
            client.images.pull(name)
        except DockerException as error:
            mend = f"{_OTHER_BASE}, with an image that can be had, or with `local` for one made here"
            raise ImageError(f"{name} cannot be pulled: {error}", mend) from error
    return str(client.images.get(name).id)


def present(client: docker.DockerClient, name: str) -> bool:
    """Whether the engine has an image of this name."""
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def chosen_base() -> str:
    """The image that the user named as the base; empty for the base made here."""
    return _choice().read_text() if _choice().exists() else ""


def choose_base(name: str) -> None:
    """Keep the name of the base for later builds."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    _choice().write_text("" if name in LOCAL else name)


def _choice() -> Path:
    return cache_folder() / "base"


def build_base(client: docker.DockerClient, tag: str, _below: str) -> None:
    """Make the base with mmdebstrap from the sources of the host's apt."""
    if shutil.which("mmdebstrap") is None:
        mend = f"sudo apt-get install mmdebstrap, or {_OTHER_BASE}"
        raise ImageError("the base is made by mmdebstrap, which is not installed", mend)
    with work_folder() as work:
        options, tree, archive = work / "apt.conf", work / "tree", work / "base.tar"
        options.write_text(output_of("apt-config", "dump", "Acquire"))  # the host's proxies and certificates
        run_command(
            "mmdebstrap",
            "--variant=extract",  # the packages' files alone, without what only an installation needs
            "--skip=output/dev",  # a container has devices of its own
            f"--include={','.join(BASE_PACKAGES)}",
            f"--aptopt={options}",
            "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
            _release(),
            str(tree),
            *_apt_sources(),
            mend=f"sudo apt-get update && {AGAIN}",
        )
        _trim(tree)
        run_command("tar", "--create", "--numeric-owner", f"--directory={tree}", f"--file={archive}", ".")
        client.api.import_image_from_file(str(archive), *tag.split(":"))


def _trim(tree: Path) -> None:
    """Remove what a node does not need, and link busybox's commands where no other program has the name."""
    for path in [path for pattern in _WITHOUT for path in tree.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    commands = tree / "bin"
    for name in output_of(str(commands / "busybox"), "--list").split():
        if not (commands / name).exists():
            (commands / name).symlink_to("busybox")


def _release() -> str:
    """The code name of the host's release, which apt and mmdebstrap know it by."""
    names = platform.freedesktop_os_release()
    if "VERSION_CODENAME" not in names:
        raise ImageError(f"{names['NAME']} has no release that a base could be made of", mend=_OTHER_BASE)
    return names["VERSION_CODENAME"]


def _apt_sources() -> list[str]:
    """Sources of the host's own release, without those of third parties."""
    form = "$(ORIGIN)|$(CODENAME)|$(REPO_URI) $(RELEASE) $(COMPONENT)"
    rows = output_of("apt-get", "indextargets", "--format", form, "Created-By: Packages").splitlines()
    sources = [
        f"deb [signed-by=/usr/share/keyrings/{origin.lower()}-archive-keyring.gpg] {source}"
        for origin, release, source in (row.split("|") for row in rows)
        if origin in ("Debian", "Ubuntu") and release.startswith(_release())
    ]
    if not sources:
        raise ImageError(f"apt has no list of {_release()}'s packages", mend=f"sudo apt-get update && {AGAIN}")
    return sources
