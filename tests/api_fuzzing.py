"""HTTP requests that nobody thought of, from the API's own forms, and what every answer to one must be."""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

ROUTES = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/verifications",
    "/v1/delegations",
    "/v1/calls/p1",
    "/tokenize",
    "/v1/models",
    "/v1/models/zoo/alpha",
    "/health",
)
HEADERS = ("X-Request-Id", "X-Attempt", "X-Deadline", "Content-Encoding", "Content-Type", "Accept", "Expect")

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
TEXT: dict[str, Any] = {"prompt": "hi", "max_tokens": 2}
DRAFT: dict[str, Any] = {**CHAT, "tokens": [1, 2], "vocabulary": "x"}
HANDED: dict[str, Any] = {"text": "hi", "visited": ["x"]}

_FIELDS = (
    *CHAT, *DRAFT, *HANDED, "prompt", "temperature", "top_p", "seed", "n", "stop", "stream", "stream_options", "tools",
    "logprobs", "top_logprobs", "response_format", "metadata", "budget", "privacy", "model", "max_completion_tokens",
)  # fmt: skip
_LIMITED = ("n", "max_tokens", "max_completion_tokens")  # what multiplies the work stays as it is

_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["system", "user", "text", "json_object", "json_schema", "<|end|>", "x" * 5000])
    | st.sampled_from([2**64, -1, 10**400])
)
_keys = st.sampled_from(["role", "content", "type", "text", "schema", "name"]) | st.text()
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def _changed(draw: st.DrawFn) -> bytes:
    """A request as it should be, but for a few fields."""
    request = dict(draw(st.sampled_from([CHAT, TEXT, DRAFT, HANDED])))
    for name in draw(st.lists(st.sampled_from(_FIELDS), max_size=3)):
        request[name] = 1 if name in _LIMITED else draw(_values)
    return json.dumps(request).encode()


@st.composite
def _large(draw: st.DrawFn) -> bytes:
    """Up to more than the largest body, with little in it."""
    size = draw(st.integers(10_000, 1_200_000))
    unit = draw(st.sampled_from(["x", " ", "<|end|>", "🤝", "\\u0000"]))
    return b'{"messages":[{"role":"user","content":"' + (unit * (size // len(unit))).encode() + b'"}],"max_tokens":1}'


_bodies = st.one_of(
    _changed(), _changed(), _changed(), _values.map(lambda value: json.dumps(value).encode()), st.binary(max_size=200)
)
_junk = st.binary(max_size=40).map(lambda value: value.replace(b"\r", b"").replace(b"\n", b""))
_header_values = _junk | st.sampled_from(
    [b"9" * 5000, b"gzip", b"identity", b"1", b"0", b"nan", b"-1", b"p1.1@a", b"100-continue", b"\xff\xfe", b"\xf0\x9f"]
)


@dataclass(frozen=True)
class Request:
    """The bytes of a request, of which ``sent`` are sent before the client hangs up; None sends all, and listens."""

    content: bytes
    sent: int | None

    def __repr__(self) -> str:
        return f"Request({self.content[:600]!r}, {len(self.content)} bytes, sent={self.sent})"


@st.composite
def requests(draw: st.DrawFn, large: bool = True) -> Request:
    """Requests; those with a ``large`` body are one in twenty."""
    method = draw(st.sampled_from([b"POST"] * 6 + [b"GET", b"DELETE", b"PUT", b"PATCH", b"OPTIONS"]))
    path = draw(st.sampled_from(ROUTES[:4] * 3 + ROUTES)).encode()
    body = draw(_large()) if large and draw(st.integers(0, 19)) == 13 else draw(_bodies)
    headers = draw(st.lists(st.tuples(st.sampled_from(HEADERS), _header_values), max_size=2))
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: a", b"Connection: close", b"Content-Length: %d" % len(body)]
    content = b"\r\n".join([*lines, *(name.encode() + b": " + value for name, value in headers)]) + b"\r\n\r\n" + body
    leaves = draw(st.integers(0, 9)) == 7
    return Request(content, draw(st.integers(0, len(content))) if leaves else None)


def exchange(connection: socket.socket, request: Request) -> tuple[int, bytes] | None:
    """Status and body of the response; None if the client hung up, or the node did before there was a response."""
    with suppress(ConnectionError):  # refused before all of it was sent
        connection.sendall(request.content if request.sent is None else request.content[: request.sent])
    if request.sent is not None:
        return None
    received = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(2**16):
            received += chunk
    received = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    head, _, body = received.partition(b"\r\n\r\n")
    return (int(head.split(maxsplit=2)[1]), body) if head else None


def check(answer: tuple[int, bytes] | None) -> None:
    """No answer says that the node failed, and errors have the form of the API's."""
    if answer is None:
        return
    status, body = answer
    assert status < 500 or status == 503, (status, body)
    if status >= 400 and body.startswith(b"{"):
        error = json.loads(body)["error"]
        assert error["message"]
        assert error["type"] == ("server_error" if status == 503 else "invalid_request_error")
