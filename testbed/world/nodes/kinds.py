"""The node kinds of the testbed itself. They import what starts nodes when it is called: `validate` reads them, too."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from testbed.schema.network.node import Emulated, ModelNode, Node, NodeKind
from testbed.schema.reading.explain import Mistake
from testbed.world.nodes.endpoint.spec import EndpointNode
from testbed.world.nodes.programs.spec import ProgramSpec, order_mistakes


class Container(NodeKind, ModelNode, Emulated):
    """A container on this host that runs the testbed's agent, with a model in llama.cpp."""

    suffers: ClassVar[frozenset[str]] = frozenset(
        {"cpus", "memory", "running", "paused", "hanging", "slowness", "deaf_to", "character"}
    )

    @classmethod
    def start(cls, site: Any, nodes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Start a container for every node."""
        from testbed.world.nodes.containers import start_containers

        return start_containers(site, nodes)


class Program(NodeKind, ProgramSpec):
    """A container on this host that runs somebody else's image. No agent is in it, and no pattern."""

    suffers: ClassVar[frozenset[str]] = frozenset({"cpus", "memory", "running", "paused", "hanging", "deaf_to"})
    dilates: ClassVar[bool] = False

    @classmethod
    def mistakes(cls, nodes: Mapping[str, Node]) -> Iterator[Mistake]:
        """Programs that wait for what is no program, or for each other."""
        return order_mistakes(nodes)

    def check_host(self, name: str, engine: Any) -> None:
        """Raise HostError if the engine lacks the image or GPUs, SpecError if a secret is not in the environment."""
        from testbed.world.nodes.programs.needs import check

        check(name, self, engine)

    def facts(self, engine: Any) -> Mapping[str, Any]:
        """The image, which its name alone does not tell."""
        image = engine.images.get(self.image)
        return {"image": self.image, "id": image.id, "digests": image.attrs.get("RepoDigests") or []}

    @classmethod
    def start(cls, site: Any, nodes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make the containers. A program starts when the network is there and those that it waits for are ready."""
        from testbed.world.nodes.programs.making import make_programs

        return make_programs(site, nodes)


class Endpoint(NodeKind, EndpointNode):
    """A container that runs the testbed's agent, whose model is a foreign OpenAI-compatible server.

    A companion on this host forwards to that server, and to nothing else.
    """

    suffers: ClassVar[frozenset[str]] = frozenset(
        {"powered", "running", "paused", "hanging", "slowness", "deaf_to", "character"}
    )

    def check_host(self, name: str, engine: Any) -> None:
        """Raise SpecError if the server's key is not in the environment."""
        from testbed.world.nodes.endpoint.needs import check

        del engine
        check(name, self)

    @classmethod
    def start(cls, site: Any, nodes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Start a companion and a container for every node."""
        from testbed.world.nodes.endpoint.starting import start_endpoints

        return start_endpoints(site, nodes)
