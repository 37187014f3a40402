"""The authority of a run: it makes what the nodes prove with who they are. Its own key is forgotten when it has."""

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import combinations_with_replacement
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from testbed.node.transport.credentials import Credentials, Member
from testbed.schema.scenario import Security

_VALID: Final = timedelta(days=7)
"""Longer than a run. The run's id would not do: what was kept after a run must be worth nothing soon."""

_SKEW: Final = timedelta(minutes=5)  # by which a board's clock may be behind
_KEY_BYTES: Final = 32


def issue(security: Security, addresses: Mapping[str, str]) -> dict[str, Credentials | None]:
    """The credentials of the nodes with these ``addresses``, by name; None where nothing is secured."""
    if security == "none":
        return dict.fromkeys(addresses)
    keys = _pair_keys(addresses)
    members = {
        name: {other: Member(address=addresses[other], key=keys[frozenset((name, other))]) for other in addresses}
        for name in addresses
    }
    if security == "signed":
        return {name: Credentials(scheme=security, name=name, members=members[name]) for name in addresses}
    authority = _Authority()
    return {
        name: Credentials(
            scheme=security,
            name=name,
            members=members[name],
            authority=authority.certificate,
            identity=authority.identity(name, address),
        )
        for name, address in addresses.items()
    }


def _pair_keys(names: Iterable[str]) -> dict[frozenset[str], str]:
    """A random key for each pair. Not of the run's seed, which everybody may know."""
    return {frozenset(pair): secrets.token_hex(_KEY_BYTES) for pair in combinations_with_replacement(names, 2)}


class _Authority:
    """An authority that signs certificates of nodes (RFC 5280), with keys of Ed25519 (RFC 8410)."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._name = _named("testbed run")
        builder = self._certified(self._name, self._key)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        signed = builder.add_extension(constraints, critical=True).sign(self._key, None)
        self.certificate = signed.public_bytes(Encoding.PEM).decode()

    def identity(self, name: str, address: str) -> str:
        """A certificate for the node ``name`` at the IP ``address``, and its private key."""
        key = Ed25519PrivateKey.generate()
        names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address(address))])
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = self._certified(_named(name), key).add_extension(names, critical=False)
        certificate = builder.add_extension(uses, critical=False).sign(self._key, None)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM).decode() + private.decode()

    def _certified(self, subject: x509.Name, key: Ed25519PrivateKey) -> x509.CertificateBuilder:
        begin = datetime.now(UTC) - _SKEW
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + _VALID)
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
