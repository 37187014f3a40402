"""Whether a model can take a user's message at all, found on the host before anything starts."""

import io
from contextlib import redirect_stderr
from functools import cache

from jinja2 import TemplateError as JinjaError
from llama_cpp import Llama

from testbed.models.resolution import Model, ModelError
from testbed.node.engine.chat import TEMPLATE, Chat
from testbed.patterns.participant import JobError
from testbed.patterns.protocol import ChatOptions


def check_chat(model: Model, options: ChatOptions, context: int) -> None:
    """Raises ModelError if there is no chat template, or if it cannot write down a user's first message.

    Models with random weights need none: nobody asks what they answer.
    """
    if reason := _reason(model, options, context):
        raise ModelError(f"{model.reference}: {reason}")


@cache
def _reason(model: Model, options: ChatOptions, context: int) -> str:
    """Why chats are impossible; empty if they are not."""
    try:
        with redirect_stderr(io.StringIO()):  # llama.cpp warns of the missing weights
            llama = Llama(str(model.path), vocab_only=True, verbose=False)
        if not (model.synthetic or options.template or TEMPLATE in llama.metadata):
            return "it has no chat template; give it one with `chat: {template: …}`, for a base model text with {input}"
        Chat(llama, options).rehearse(context)
    except JinjaError as error:
        return f"its chat template does not parse: {error}"
    except JobError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"llama.cpp cannot read its tokenizer: {error}"
    return ""
