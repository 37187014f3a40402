"""Clients that others wrote, each asked for what it prints: ``python client_programs.py NAME BASE_URL MODEL``.

Runs in an environment of its own, which has litellm and llmeter.
"""

import json
import sys

CHAT = [{"role": "user", "content": "Name the capital city of Mupuland."}]


def litellm_chats(base: str, model: str) -> object:
    """A chat plain and streamed, and a text."""
    import litellm

    known = {"model": f"openai/{model}", "api_base": base, "api_key": "-", "num_retries": 0}
    plain = litellm.completion(messages=CHAT, temperature=0, **known)
    chunks = list(litellm.completion(messages=CHAT, temperature=0, stream=True, **known))
    text = litellm.text_completion(
        model=f"text-completion-openai/{model}", prompt="Name", max_tokens=3, api_base=base, api_key="-"
    )
    return {
        "plain": plain.choices[0].message.content,
        "tokens": plain.usage.total_tokens,
        "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
        "text": text.choices[0].text,
    }


def llmeter_chats(base: str, model: str) -> object:
    """What a benchmark measures of a stream."""
    from llmeter.endpoints.openai import OpenAICompletionStreamEndpoint

    endpoint = OpenAICompletionStreamEndpoint(model_id=model, api_key="-", base_url=base)
    payload = OpenAICompletionStreamEndpoint.create_payload(CHAT[0]["content"], max_tokens=24)
    answer = endpoint.invoke(payload)
    return {
        "error": answer.error,
        "text": answer.response_text,
        "first": answer.time_to_first_token,
        "last": answer.time_to_last_token,
        "read": answer.num_tokens_input,
        "written": answer.num_tokens_output,
    }


if __name__ == "__main__":
    name, base, model = sys.argv[1:]
    print("\n" + json.dumps(globals()[name](base, model)))
