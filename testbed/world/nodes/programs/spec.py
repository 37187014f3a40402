"""What a topology file says of a node that runs somebody else's program."""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from testbed.core.input_files import input_file
from testbed.core.spec import Spec, matching
from testbed.core.units import Duration
from testbed.node.config import SHARED
from testbed.schema.network.node import Emulated, ModelName, Node, anchored_model
from testbed.schema.reading.explain import Mistake

_TAKEN: Final = tuple(map(PurePosixPath, ("/proc", "/sys", "/dev", str(SHARED))))


def _check_inside(path: str) -> str:
    """Raise ValueError unless a file can be put at ``path`` of a container."""
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts or pure == PurePosixPath("/"):
        raise ValueError(f"{path!r} must be an absolute path inside the node, without `..`, like /model.gguf")
    if any(pure.is_relative_to(taken) for taken in _TAKEN):
        raise ValueError(f"{path!r} is taken; put it outside of {', '.join(map(str, _TAKEN))}")
    return path


Port = Annotated[int, Field(ge=1, le=65535)]
InsidePath = Annotated[str, AfterValidator(_check_inside)]
FileName = Annotated[str, *matching(r"(?!\.\.?$)[^/\0]+", "the name of a file, without a folder")]
Image = Annotated[str, *matching(r"[a-z0-9][\w.:/@-]*", "the name of an image, like my/server:1")]
Variable = Annotated[str, *matching(r"[A-Za-z_][A-Za-z0-9_]*", "letters, digits and underscores")]
Command = Annotated[list[str], Field(min_length=1)]


def _check_one(chosen: Mapping[str, object]) -> None:
    """Raise ValueError unless exactly one of the keys has a value."""
    if sum(value is not None for value in chosen.values()) != 1:
        raise ValueError(f"takes one of {', '.join(f'`{key}`' for key in chosen)}")


class Ready(Spec):
    """When a program is ready: it listens, answers a request with a status of 2xx, or has printed a line."""

    tcp: Port | None = Field(None, description="the port that it listens on then")
    http: Port | None = Field(None, description="the port at which `path` answers with a status of 2xx then")
    path: Annotated[str, *matching("/.*", "a path, like /health")] | None = Field(
        None, description="with `http`: the path that is asked for; left out, /"
    )
    log: str | None = Field(None, min_length=1, description="text that a line of its output contains then")
    within: Duration = Field(300.0, gt=0, description="how long it has until then")

    @model_validator(mode="after")
    def _check(self) -> "Ready":
        _check_one({"tcp": self.tcp, "http": self.http, "log": self.log})
        if self.http is None and self.path is not None:
            raise ValueError("`path` goes with `http`")
        return self

    def __str__(self) -> str:
        if self.tcp is not None:
            return f"nothing listens on TCP port {self.tcp}"
        return (
            f"{self.path or '/'} on port {self.http} has no status of 2xx"
            if self.http
            else f"it has not printed {self.log!r}"
        )


class Answers(Spec):
    """How prompts are handed over to a program."""

    openai: Port | None = Field(None, description="the port of its OpenAI-compatible API, under /v1")
    model: str = Field("", description="with `openai`: the model to ask for")
    command: Command | None = Field(
        None, description="executed in the node for every prompt, which is its input; its output is the answer"
    )

    @model_validator(mode="after")
    def _check(self) -> "Answers":
        _check_one({"openai": self.openai, "command": self.command})
        if self.openai is None and self.model:
            raise ValueError("`model` goes with `openai`")
        return self


class ProgramSpec(Emulated):
    """A container on this host that runs somebody else's image. No agent is in it, and no pattern."""

    image: Image = Field(description="an image that the Docker engine of this host has; none is pulled")
    command: Command | None = Field(None, description="in place of the command that the image names")
    ready: Ready | None = Field(None, description="when it is ready; left out, once it has been started")
    after: list[str] = Field(default_factory=list, description="nodes with an `image` that must be ready before it")
    models: dict[InsidePath, Annotated[ModelName, AfterValidator(anchored_model)]] = Field(
        default_factory=dict, description="models that it can read, by their paths inside"
    )
    files: dict[InsidePath, Annotated[str, input_file("topology")]] = Field(
        default_factory=dict, description="files that it can read, by their paths inside"
    )
    environment: dict[Variable, str] = Field(
        default_factory=dict, description="values by name; `env:NAME` is a secret that the environment of the run has"
    )
    out: list[FileName] = Field(
        default_factory=list, description=f"files of its directory {SHARED} that the run directory keeps"
    )
    processes: int = Field(128, ge=1, le=4096, description="how many processes and threads it may have")
    gpu: int = Field(0, ge=0, le=64, description="GPUs of the host that it gets")
    answers: Answers | None = Field(None, description="how prompts are handed over; left out, none arrive at it")

    @model_validator(mode="after")
    def _check_program(self) -> "ProgramSpec":
        if self.cpus is None:
            raise ValueError("`cpus` is missing; a `device` sets it only for nodes with a `model`")
        if twice := self.models.keys() & self.files.keys():
            raise ValueError(f"{min(twice)} is among `models` and `files`; leave one out")
        return self

    @property
    def given_models(self) -> Mapping[str, str]:
        """See the base class."""
        return self.models

    @property
    def takes_prompts(self) -> bool:
        """Whether prompts arrive at it."""
        return self.answers is not None


def order_mistakes(nodes: Mapping[str, Node]) -> Iterator[Mistake]:
    """Programs that wait for what is no program, or for each other."""
    programs = {name: node for name, node in nodes.items() if isinstance(node, ProgramSpec)}
    for name, node in programs.items():
        for number, other in enumerate(node.after):
            if other not in programs:
                known = ", ".join(sorted(programs.keys() - {name})) or "none"
                yield (name, "after", number), f"{other!r} is no other node with an `image`; such are: {known}"
    try:
        TopologicalSorter({name: node.after for name, node in programs.items()}).prepare()
    except CycleError as error:
        circle = " → ".join(error.args[1])
        yield (error.args[1][0], "after"), f"the nodes wait for each other ({circle}); leave one out"
