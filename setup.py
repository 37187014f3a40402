"""Native code: the relay of the userspace links, which relay.py beside it loads. All else is in pyproject.toml."""

from setuptools import Extension, setup

LINKS = "testbed/world/network/links"

setup(
    ext_modules=[
        Extension(
            "testbed.world.network.links._relay",
            sources=[f"{LINKS}/relay.c", f"{LINKS}/wire.c"],
            depends=[f"{LINKS}/wire.h"],
            extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra"],
            libraries=["m"],
        )
    ]
)
