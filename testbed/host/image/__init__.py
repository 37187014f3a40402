"""The node image: built on this host. No build step has a network, and no registry is needed.

    base      the Debian or Ubuntu packages that Python and llama.cpp need, or an image that the user names
    packages  the node's Python packages, resolved and unpacked on the host
    code      the part of the project that runs inside a node
    kinds     patterns of other packages and of single files, for the runs that use them

    llama-rpc beside these on the base: llama.cpp's server and RPC backend, for nodes that run them as they are

Each layer has a module and is an image of its own. The tag of a layer is a hash of everything that went into it and
into the layers below. An existing layer is therefore never built again, and a change of the code rebuilds only the last
layer. Building a layer removes the code images that no run has used for a day.

``recipes`` is a symbolic link to ``images/node`` at the top of the tree; a wheel holds the files themselves.
"""

from testbed.host.image.base import BASE_PACKAGES, chosen_base
from testbed.host.image.building import NODE_UID, ImageError
from testbed.host.image.code import NODE_CODE
from testbed.host.image.kinds import packages_of, reference_inside
from testbed.host.image.llama_rpc import ensure_llama_rpc, llama_rpc_image, made_here
from testbed.host.image.stack import ensure_image

__all__ = [
    "BASE_PACKAGES",
    "NODE_CODE",
    "NODE_UID",
    "ImageError",
    "chosen_base",
    "ensure_image",
    "ensure_llama_rpc",
    "llama_rpc_image",
    "made_here",
    "packages_of",
    "reference_inside",
]
