"""Chat templates: how a model wants a chat to be written down."""

from collections.abc import Sequence
from typing import Final

from jinja2 import TemplateSyntaxError
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from testbed.patterns.participant import ChatMessage, JobError

INPUT: Final = "{input}"
"""Stands for the text of a chat in a template that is no Jinja."""

_JINJA: Final = ("{{", "{%", "{#")
_TEXT: Final = "{{ messages | map(attribute='content') | join('\\n\\n') }}"


class TemplateError(JobError):
    """A template is none, or refuses a chat; the message says why."""


class ChatTemplate:
    """A template in Jinja over ``messages``, in a sandbox."""

    def __init__(self, text: str, bos: str, eos: str) -> None:
        """``bos`` and ``eos`` are the texts of the model's tokens. Raises TemplateError."""
        try:
            self._format = Jinja2ChatFormatter(template=text, bos_token=bos, eos_token=eos)
        except TemplateSyntaxError as error:
            raise TemplateError(f"the chat template does not parse: {error.message} (line {error.lineno})") from error

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """The text of a chat up to the beginning of the assistant's answer; raises TemplateError."""
        try:
            return str(self._format(messages=[dict(message) for message in messages]).prompt)  # type: ignore[misc]
        except Exception as error:  # templates raise what they like
            roles = ", ".join(message["role"] for message in messages[:5])
            raise TemplateError(f"the chat template refuses messages of {roles}: {error}") from error


def jinja(text: str) -> str:
    """A template as users write them: Jinja as it is; plain text, for base models, with the chat for ``{input}``.

    All messages of the chat stand there, one below the other. Raises TemplateError.
    """
    if any(mark in text for mark in _JINJA):
        return text
    if INPUT not in text:
        raise TemplateError(f"the chat template has no place for the chat; write {INPUT}, or Jinja over messages")
    return text.replace(INPUT, _TEXT)
