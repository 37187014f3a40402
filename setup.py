"""Native code: the relay of the userspace links, which testbed/emulation/links/relay.py loads. All else: pyproject.toml."""

from setuptools import Extension, setup

LINKS = "testbed/emulation/links"

setup(
    ext_modules=[
        Extension(
            "testbed.emulation.links._relay",
            sources=[f"{LINKS}/relay.c", f"{LINKS}/wire.c"],
            depends=[f"{LINKS}/wire.h"],
            extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra"],
            libraries=["m"],
        )
    ]
)
