"""What an endpoint needs of the host: its key in the environment."""

import os
from typing import Final

from testbed.core.errors import SpecError
from testbed.world.nodes.endpoint.spec import EndpointNode

_SHORTEST_KEY: Final = 8
"""Characters. Keys are cut out of what a server says, and a shorter one could be a word of an answer."""


def check(name: str, node: EndpointNode) -> None:
    """Raise SpecError if the environment holds no key that can be sent and kept secret. It is not repeated."""
    if node.variable is None:
        return
    where, key = f"nodes.{name}.key", os.environ.get(node.variable, "")
    if not key:
        keep = f"sudo --preserve-env={node.variable} ./tb"
        raise SpecError.of(where, f"the environment has no {node.variable}; set it, and keep it through sudo: {keep}")
    if not (key.isascii() and key.isprintable() and " " not in key) or len(key) < _SHORTEST_KEY:
        form = f"at least {_SHORTEST_KEY} printable ASCII characters, and no spaces"
        raise SpecError.of(where, f"what {node.variable} holds is no key; keys have {form}")
