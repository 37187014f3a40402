"""Messages of chats."""

from typing import Literal

from typing_extensions import TypedDict


class ChatMessage(TypedDict):
    """One message of a chat, as in the OpenAI API."""

    role: Literal["system", "user", "assistant"]
    content: str
