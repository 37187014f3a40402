"""Mutual TLS 1.3 (RFC 8446) with certificates of the run's own authority."""

import ssl
from collections.abc import Callable
from tempfile import NamedTemporaryFile
from typing import Any

from testbed.node.transport.credentials import Credentials


class Tls:
    """The two sides of a node's connections. ``failed`` is told why a handshake with a client failed."""

    def __init__(self, credentials: Credentials, failed: Callable[[str], None]) -> None:
        self.client = _context(credentials, ssl.PROTOCOL_TLS_CLIENT)  # compares the address with the certificate's
        self.server = _context(credentials, ssl.PROTOCOL_TLS_SERVER)
        self.server.verify_mode = ssl.CERT_REQUIRED
        self.server.num_tickets = 0  # clients here resume no sessions
        self.server.sslobject_class = _told(failed)


def certified_name(get_extra_info: Callable[[str], Any]) -> str:
    """The name of the node at the other end of a connection, by its certificate."""
    names: list[str] = [name for kind, name in get_extra_info("peercert")["subjectAltName"] if kind == "DNS"]
    return names[0]


def _context(credentials: Credentials, side: int) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=credentials.authority)
    with NamedTemporaryFile("w") as file:  # OpenSSL takes these from a file alone
        file.write(credentials.identity)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def _told(failed: Callable[[str], None]) -> type[ssl.SSLObject]:
    class Handshake(ssl.SSLObject):
        """asyncio tells nobody of a handshake that fails."""

        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                failed(_sentence(error))
                raise

    return Handshake


def _sentence(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    return f"no TLS handshake: {(error.reason or 'unknown').lower().replace('_', ' ')}"
