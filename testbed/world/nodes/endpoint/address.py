"""The address of a foreign server: where a run's companion may connect to, and where not.

A name is resolved once. All connections of the run go to the addresses found then, whatever the name means later.
"""

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

_PORTS: Final = {"http": 80, "https": 443}
_LOCAL_NAME: Final = "localhost"

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class BaseUrl:
    """The URL that ``/chat/completions`` is below, like ``https://api.example/v1``."""

    text: str
    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "BaseUrl":
        """Raises ValueError for what is no such URL, or one that names a forbidden address."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{text!r} is no URL ({error}); write it like https://api.example/v1") from None
        if parts.scheme not in _PORTS or not parts.hostname or not text.isascii() or any(map(str.isspace, text)):
            raise ValueError(f"{text!r} is no http or https URL; write it like https://api.example/v1")
        if "@" in parts.netloc:
            raise ValueError("an endpoint's URL holds no user or password; name the key by `key: env:NAME`")
        if parts.query or parts.fragment or ".." in parts.path.split("/"):
            raise ValueError(f"{text!r} is more than a base URL; leave out what follows `?` or `#`, and `..`")
        url = cls(text.rstrip("/"), parts.scheme, parts.hostname, port or _PORTS[parts.scheme])
        if (address := url.literal) is not None:
            check_address(address)
        return url

    @property
    def literal(self) -> Address | None:
        """The address that stands in the URL itself; None of a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    def check_secrecy(self) -> None:
        """Raise ValueError if a key for this server would cross a network in plain text."""
        local = self.host == _LOCAL_NAME if self.literal is None else is_loopback(self.literal)
        if self.scheme == "http" and not local:
            raise ValueError(f"a key would go to {self.host} in plain text; write https, or leave out `key`")

    def resolve(self, secret: bool) -> tuple[str, ...]:
        """The addresses of the host; raises ValueError if one of them is forbidden, or OSError.

        With ``secret``, a key is sent along.
        """
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in map(ip_address, addresses):
            check_address(address)
            if secret and self.scheme == "http" and not is_loopback(address):
                raise ValueError(f"{self.host} is {address}, where a key would go in plain text; write https")
        return addresses


def check_address(address: Address) -> None:
    """Raise ValueError for an address that no endpoint may have.

    Link-local ones are those of a cloud's metadata services, among others.
    """
    plain = _unmapped(address)
    if plain.is_link_local:
        raise ValueError(f"{address} is a link-local address, which no endpoint may have")
    if plain.is_multicast or plain.is_unspecified or plain == IPv4Address("255.255.255.255"):
        raise ValueError(f"{address} is no address of a single server")


def is_loopback(address: Address) -> bool:
    """Whether packets to the address stay on this host."""
    return _unmapped(address).is_loopback


def _unmapped(address: Address) -> Address:
    """The IPv4 address within an IPv6 one, where there is one."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
