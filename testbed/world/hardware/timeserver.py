"""``python timeserver.py ADDRESS PORT``: tell the time of this machine's CLOCK_MONOTONIC to whoever asks by UDP.

It runs on a board, from a copy of this file alone. The reply repeats the question, and has the times of its arrival and
of the reply (:mod:`testbed.world.hardware.clock`).
"""

import socket
import struct
import sys
import time


def serve(address: str, port: int) -> None:
    """Answer for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((address, port))
        while True:
            question, asker = link.recvfrom(8)
            arrived = time.monotonic()
            link.sendto(question + struct.pack("!dd", arrived, time.monotonic()), asker)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
