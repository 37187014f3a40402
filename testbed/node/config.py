"""What an agent is told at its start, and where things lie inside a node."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationInfo, field_validator

from testbed.core.clock import REAL_TIME, Clock
from testbed.core.normalisation import Normalisation
from testbed.core.registry import KindError, load_reference
from testbed.node.transport.credentials import Credentials
from testbed.patterns.base import PATTERNS, Pattern
from testbed.patterns.participant import Peer, Price, Tier
from testbed.patterns.protocol import ChatOptions, MembershipOptions, QueueOptions, RetryOptions

SHARED = Path("/run/node")
"""The directory that a node shares with its host; it holds the five files below."""

CONFIG = "config.json"
SOCKET = "agent.sock"
EVENTS = "events.jsonl"
SLOWNESS = "slowness"
CHARACTER = "character.json"

ENDPOINT = Path("/endpoint.sock")
"""The socket of the run's companion that forwards to a foreign server."""

MODEL = Path("/model.gguf")
"""The model, or the stage of one that a node of a ring holds; the head of a ring has the front besides."""

FRONT = Path("/front.gguf")
INPUTS = Path("/inputs")
"""The folder of files that the node's pattern reads, each by its number among them."""

WITHOUT = Path("/without")
"""The folder with the stages that a node of a ring holds if another is lost, by that one's name."""


def model_files(parts: int) -> list[Path]:
    """The files of a model in ``parts``, whose names llama.cpp expects of several."""
    several = [MODEL.with_stem(f"{MODEL.stem}-{number:05}-of-{parts:05}") for number in range(1, parts + 1)]
    return [MODEL] if parts == 1 else several


def model_file() -> Path:
    """The model in this node, or its first part."""
    return next(MODEL.parent.glob(f"{MODEL.stem}-00001-of-*.gguf"), MODEL)


PORT = 8080
HEARTBEAT_PORT = 8081
RING_PORT = 8082

BATCH = 512
"""Most tokens of a prompt that are read at once, llama.cpp's default."""

DRAFTED = 8
"""Tokens of a draft that are read at once: each needs a row of logits."""


FURTHER: Final = Path("/models")
"""The folder of models that a node has besides its own, each by its number among them."""


def fingerprint_of(sha256: str) -> str:
    """What stands for a model in responses: half of the hash of its file, which is enough to tell models apart."""
    return sha256[:32]


class FurtherModel(BaseModel):
    """A model that a node has besides its own: its file inside the node, and its fingerprint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    fingerprint: str


class PeerFacts(BaseModel):
    """What the host knows of another node: see :class:`testbed.patterns.participant.Peer`.

    ``fingerprint`` is that of the model that the topology says, empty where the host knows none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = ""
    fingerprint: str = ""
    tier: Tier | None = None
    price: Price | None = None
    linked: bool = True
    links: tuple[str, ...] = ()

    @classmethod
    def of(cls, peer: Peer, fingerprint: str = "") -> "PeerFacts":
        """What the host knows of ``peer``, whose model has this ``fingerprint``."""
        facts = {"model": peer.model, "tier": peer.tier, "price": peer.price, "linked": peer.linked}
        return cls(**facts, links=peer.links, fingerprint=fingerprint)

    def peer(self, name: str) -> Peer:
        """The peer called ``name``, taken as present."""
        return Peer(name, self.model, self.tier, self.price, self.linked, links=self.links)


class EndpointOptions(BaseModel):
    """How a foreign server is asked.

    ``patience`` are the seconds for which it may be busy, or say nothing. ``logprobs`` asks for log-probabilities.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    patience: float
    logprobs: bool


class NodeConfig(BaseModel):
    """The agent of node ``name``, which goes by ``clock``. It listens on its IP ``address``, and on no other.

    ``neighbours`` are IP addresses by name, ``patience`` the seconds that each of them has for answering at the first
    request, by what the links between take, and ``peers`` has what else is known of them, and of the node itself.
    ``endpoint`` is there if its model is a foreign server's. ``pattern_classes`` are by kind, as the node's Python
    finds them, ``module:Name`` or ``FILE.py:Name``: a node has no registry of installed kinds. ``normalisation`` is
    that of the run's scorer. ``packages`` are the host's versions of the packages whose code runs here. ``misbehaves``
    says whether any fault of the run changes its character, ``decoys`` are what a liar says, by its group and the
    prompt, and ``further_models`` what can take its model's place; no node is told a truth. ``models`` says whether
    responses by another model than the topology says are refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    address: str
    clock: Clock = REAL_TIME
    neighbours: dict[str, str]
    patience: dict[str, float] = Field(default_factory=dict)
    peers: dict[str, PeerFacts] = Field(default_factory=dict)
    packages: dict[str, str] = {}
    pattern_classes: dict[str, str]
    pattern: SerializeAsAny[Pattern]
    queue: QueueOptions
    chat: ChatOptions = ChatOptions()
    retry: RetryOptions
    membership: MembershipOptions | None
    model: str
    context: int
    slots: int = 1
    prefix_cache: bool = False
    endpoint: EndpointOptions | None = None
    threads: int
    temperature: float
    max_tokens: int
    seed: int
    normalisation: Normalisation = "words"
    misbehaves: bool = False
    decoys: dict[str, dict[str, str]] = Field(default_factory=dict)
    further_models: dict[str, FurtherModel] = Field(default_factory=dict)
    models: Literal["any", "pinned"] = "any"
    credentials: Credentials | None = None

    @field_validator("packages")
    @classmethod
    def _check_packages(cls, packages: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        """Raises KindError for a package that is missing here, or that has another version than on the host."""
        for package, expected in packages.items():
            found = _installed(package)
            if found != expected:
                node = info.data["name"]
                raise KindError(f"the host has {package} {expected} and node {node!r} has {found}; install {expected}")
        return packages

    @field_validator("pattern", mode="before")
    @classmethod
    def _read_pattern(cls, written: Any, info: ValidationInfo) -> Any:
        if isinstance(written, Pattern):
            return written
        for kind, reference in info.data["pattern_classes"].items():
            PATTERNS.teach(kind, load_reference(reference))
        return PATTERNS.get(written["kind"]).model_validate(written)


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
