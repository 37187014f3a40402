"""Wheels of the project, and environments that hold one."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PACKAGES = Path(sysconfig.get_path("purelib"))
CHANGE = "CHANGED_FOR_A_TEST"


def build_wheel(folder: Path) -> Path:
    """A wheel of a copy of the project. Its node code defines ``CHANGE``, so its node image is another one."""
    copy, out = folder / "project", folder / "wheel"
    leave_out = shutil.ignore_patterns("__pycache__", "*.so")
    for name in ("testbed", "images"):
        shutil.copytree(PROJECT / name, copy / name, symlinks=True, ignore=leave_out)
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(PROJECT / file, copy / file)
    with (copy / "testbed" / "node" / "__init__.py").open("a") as code:
        code.write(f"\n{CHANGE} = True\n")
    call(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, copy)
    (built,) = out.iterdir()
    return built


def make_environment(folder: Path, wheel: Path) -> Path:
    """A new environment at ``folder`` that holds the wheel and nothing else."""
    call(sys.executable, "-m", "venv", "--without-pip", folder)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
    call(*pip, "install", "-q", "--no-deps", "--no-index", wheel)
    return folder


def packages_of(environment: Path) -> Path:
    """The folder of an environment's packages."""
    (found,) = environment.glob("lib/python*/site-packages")
    return found


def call(*command: str | Path, cwd: Path = Path("/"), status: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run a command, which must end with ``status``."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done
