"""Signed requests and responses. The header X-Signature has, in base64 without padding:

    request     NAME:(stamp, tag of the body, tag of stamp, method, path, headers X-… and the body's tag)
    response    tag of the request's tag, the status and the body

So a server knows who asks before it reads a byte of the body, and a response belongs to one request alone.

RFC 9421 has a general form of such signatures. It takes 250 bytes and more, where these take about 70 and 37.
"""

from base64 import b64encode, urlsafe_b64decode
from binascii import Error as NoBase64Error
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from testbed.node.transport.refusals import UnauthenticatedError
from testbed.node.transport.signing import STAMP_BYTES, TAG_BYTES, Signer

HEADER: Final = "X-Signature"

_REQUEST, _BODY, _RESPONSE = b"request", b"body", b"response"


@dataclass(frozen=True)
class Signature:
    """The signature of a request between this node and ``peer``."""

    peer: str
    stamp: bytes
    body: bytes
    tag: bytes

    def header(self, name: str) -> str:
        """The header of a request that the node ``name`` sends."""
        return f"{name}:{_written(self.stamp + self.body + self.tag)}"


def sign_request(
    signer: Signer, peer: str, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Signature:
    """The signature of a request to ``peer``."""
    stamp = signer.stamp()
    of_body = signer.sign(peer, _BODY, stamp, body)
    return Signature(peer, stamp, of_body, signer.sign(peer, *_request(stamp, of_body, method, path, headers)))


def check_request(signer: Signer, method: str, path: str, headers: Mapping[str, str]) -> Signature:
    """The signature of a request that has come in, checked but for its body; raises UnauthenticatedError."""
    sender, _, written = headers.get(HEADER, "").partition(":")
    read = _read(written)
    stamp, of_body, tag = read[:STAMP_BYTES], read[STAMP_BYTES:][:TAG_BYTES], read[STAMP_BYTES + TAG_BYTES :]
    signer.check(sender, tag, *_request(stamp, of_body, method, path, headers))
    signer.admit(sender, stamp)
    return Signature(sender, stamp, of_body, tag)


def check_body(signer: Signer, signature: Signature, body: bytes) -> None:
    """Raise UnauthenticatedError unless ``body`` is the one that was signed."""
    signer.check(signature.peer, signature.body, _BODY, signature.stamp, body)


def sign_response(signer: Signer, signature: Signature, status: int, body: bytes) -> str:
    """The header of the response to a request with this signature."""
    return _written(signer.sign(signature.peer, _RESPONSE, signature.tag, b"%d" % status, body))


def check_response(signer: Signer, signature: Signature, status: int, body: bytes, header: str) -> None:
    """Raise UnauthenticatedError unless the node that was asked has signed this response to this request."""
    signer.check(signature.peer, _read(header), _RESPONSE, signature.tag, b"%d" % status, body)


def _request(stamp: bytes, of_body: bytes, method: str, path: str, headers: Mapping[str, str]) -> list[bytes]:
    own = sorted((name.lower(), value) for name, value in headers.items() if name.lower().startswith("x-"))
    said = [f"{name}:{value}".encode(errors="surrogateescape") for name, value in own if name != HEADER.lower()]
    return [_REQUEST, stamp, of_body, method.encode(), path.encode(errors="surrogateescape"), *said]


def _written(data: bytes) -> str:
    return b64encode(data, b"-_").decode().rstrip("=")


def _read(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (NoBase64Error, ValueError):
        raise UnauthenticatedError("its signature is wrong") from None
