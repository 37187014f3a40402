"""``chat`` of a scenario: what the nodes make of chats."""

from pydantic import Field

from testbed.patterns.protocol import ChatOptions


class Chats(ChatOptions):
    """Options of the chats of all nodes, and what is different at some."""

    nodes: dict[str, ChatOptions] = Field(default_factory=dict, description="options of single nodes, by name")

    def at(self, node: str) -> ChatOptions:
        """The options of one node: its own, and where it has none those of all."""
        common = {name: getattr(self, name) for name in ChatOptions.model_fields}
        own = self.nodes.get(node, ChatOptions())
        return ChatOptions.model_validate({**common, **own.model_dump(exclude_unset=True)})
