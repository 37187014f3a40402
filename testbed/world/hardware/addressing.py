"""Who answers for an IP address on a cable: the Address Resolution Protocol (RFC 826), without an address of one's own.

A host asks its kernel for this. Here the kernel has no address in the emulated network and must not get one: it would
answer where the board should. So the question is an ARP probe (RFC 5227), which names no asker.
"""

import socket
import struct
import time
from ipaddress import IPv4Address
from typing import Final

_ETH_P_ALL: Final = 0x0003  # of an interface in a bridge, only a socket for all protocols gets frames
_ETH_P_ARP: Final = 0x0806
_REQUEST, _REPLY = 1, 2
_PACKET: Final = struct.Struct("!HHBBH6s4s6s4s")
_BROADCAST: Final = b"\xff" * 6
_AGAIN: Final = 0.2  # seconds between two questions


def hardware_address(interface: str, address: str, seconds: float) -> str | None:
    """The MAC address that answers for ``address`` at ``interface``, in the namespace of this thread.

    None if nobody does within ``seconds``; raises OSError.
    """
    wanted, deadline = IPv4Address(address).packed, time.monotonic() + seconds
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as ear:
        ear.bind((interface, _ETH_P_ALL))
        own = ear.getsockname()[4]
        question = _PACKET.pack(1, 0x0800, 6, 4, _REQUEST, own, bytes(4), bytes(6), wanted)
        while (now := time.monotonic()) < deadline:
            ear.send(_BROADCAST + own + _ETH_P_ARP.to_bytes(2) + question)
            if answer := _answer(ear, wanted, min(deadline, now + _AGAIN)):
                return answer.hex(":")
    return None


def _answer(ear: socket.socket, wanted: bytes, until: float) -> bytes | None:
    while (left := until - time.monotonic()) > 0:
        ear.settimeout(left)
        try:
            frame = ear.recv(64)
        except TimeoutError:
            return None
        if frame[12:14] == _ETH_P_ARP.to_bytes(2) and len(frame) >= 14 + _PACKET.size:
            *_, operation, sender, sender_address, _, _ = _PACKET.unpack_from(frame, 14)
            if operation == _REPLY and sender_address == wanted:
                return bytes(sender)
    return None
