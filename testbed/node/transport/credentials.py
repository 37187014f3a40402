"""What a node holds to prove who it is, and to know the other nodes of its run. The host makes it for one run."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Secret(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Member(_Secret):
    """A node of the run: its IP address, and the key that only it, this node and the host have."""

    address: str
    key: str = Field(pattern="^[0-9a-f]{64}$", repr=False, description="256 random bits in hexadecimal digits")


class Credentials(_Secret):
    """The credentials of the node ``name``.

    ``members`` are all nodes of the run by name, this one included: a ring of one closes at the node itself.
    ``authority`` is the certificate of the run's own authority, and ``identity`` the node's certificate and private
    key, all as PEM; both are empty if the scheme is ``signed``.
    """

    scheme: Literal["signed", "mutual-tls"]
    name: str
    members: dict[str, Member]
    authority: str = ""
    identity: str = Field("", repr=False)
