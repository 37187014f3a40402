"""The models that a server has. Source: the API reference, "Models"."""

from typing import Literal

from pydantic import BaseModel


class Model(BaseModel):
    """A model. ``created`` is when the node began to serve it, in seconds since 1970."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "testbed"


class ModelList(BaseModel):
    """``GET /v1/models``."""

    object: Literal["list"] = "list"
    data: list[Model]
