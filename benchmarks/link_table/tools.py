"""The public tools that measure: ping, fping and iperf3, each run in a host of a pair."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from link_table.pairs import ADDRESSES, Pair
from testbed.host.namespace import Namespace

SMALLEST_FRAME: Final = 60
"""Bytes of Ethernet's smallest frame, without its checksum."""

_SMALLEST_PAYLOAD = SMALLEST_FRAME - 42  # of an echo, after 14 bytes of Ethernet, 20 of IP and 8 of ICMP
_SECONDS = 120.0  # after which a tool hangs


class ToolError(Exception):
    """A tool failed; the text is its output."""


@dataclass(frozen=True)
class RoundTrips:
    """The mean and standard deviation of a burst of pings, in seconds."""

    mean: float
    deviation: float


def missing_packages() -> list[str]:
    """The missing packages with these tools, as named in Debian and Ubuntu."""
    packages = {"ping": "iputils-ping", "fping": "fping", "iperf3": "iperf3"}
    return [package for tool, package in packages.items() if shutil.which(tool) is None]


def meet(pair: Pair, version: int = 4) -> None:
    """Resolve both hosts' hardware addresses, so that no measured packet waits for ARP."""
    _run(pair.a, "ping", "-q", "-n", "-c", "3", "-i", "0.2", "-W", "3", ADDRESSES[version][1])


def ping(pair: Pair, count: int, interval: float, version: int = 4) -> RoundTrips:
    """``count`` pings from a to b, one every ``interval`` seconds.

    ping rounds single times to three digits, but gives microseconds in its closing line.
    """
    address = ADDRESSES[version][1]
    output = _run(pair.a, "ping", "-q", "-n", "-c", str(count), "-i", f"{interval:.3f}", "-W", "3", address)
    match = re.search(r"= [\d.]+/([\d.]+)/[\d.]+/([\d.]+) ms", output)
    if match is None:
        raise ToolError("ping got no answer")
    return RoundTrips(float(match[1]) / 1e3, float(match[2]) / 1e3)


def count_echoes(pair: Pair, count: int, interval: float) -> tuple[int, int]:
    """The echo requests of :data:`SMALLEST_FRAME` bytes from a, one every ``interval`` seconds, and the replies."""
    period = f"{interval * 1e3:g}"
    payload = str(_SMALLEST_PAYLOAD)
    command = ["fping", "-q", "-c", str(count), "-p", period, "-i", "0.1", "-t", "1000", "-b", payload]
    output = _run(pair.a, *command, ADDRESSES[4][1])
    match = re.search(r"xmt/rcv/%loss = (\d+)/(\d+)/", output)
    if match is None:
        raise ToolError(f"fping said {output.strip()!r}")
    return int(match[1]), int(match[2])


def tcp_rates(pair: Pair, bandwidth: float, round_trip: float, seconds: int = 4, version: int = 4) -> list[float]:
    """Bits per second of TCP payload that b receives from a, in each half second of ``seconds``.

    ``bandwidth`` (bit/s) and ``round_trip`` (s) of the link limit the bytes in flight. The limit exceeds the
    bandwidth-delay product by a quarter and 10 ms of sending, so the link is never idle. It is below what link and
    queue hold together, so no packet is dropped and the rate is constant. Without a limit TCP fills the queue: at
    1 Mbit/s iperf3's own messages would wait 12 s, and at 200 ms and 500 Mbit/s TCP would need minutes to recover from
    a drop. Reno is used because Cubic leaves slow start early on paths without loss (HyStart: Ha and Rhee, 2011).
    """
    on_its_way = bandwidth / 8 * (1.25 * round_trip + 0.010) + 16e3
    _limit_buffers(pair.a, "tcp_wmem", 8 * on_its_way)  # ample: the receiver limits
    _limit_buffers(pair.b, "tcp_rmem", 2 * on_its_way)  # the kernel offers about half of a buffer as window
    slow_start = ceil(1 + 16 * round_trip)  # ten doublings from 10 segments to 10,000, and some time for the buffers
    return _iperf(pair, slow_start, seconds, version, block=ceil(min(128e3, max(1448, bandwidth / 8 * 0.01))))


def _iperf(pair: Pair, omit: int, seconds: int, version: int, block: int) -> list[float]:
    with pair.b.entered():
        command = ["iperf3", f"-{version}", "-s", "-1", "-i", "0.5", "-f", "k", "--forceflush"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if line.startswith("Server listening"):
                break
        target = ADDRESSES[version][1]
        _run(pair.a, "iperf3", "-c", target, "-t", str(seconds), "-O", str(omit), "-C", "reno", "-l", str(block), "-J")
        report = server.communicate(timeout=_SECONDS)[0]
    finally:
        server.kill()
        server.wait()
    return _received(report, seconds)


def _received(report: str, seconds: int) -> list[float]:
    """The rates of the full half seconds in the server's report, without a partial one at the end."""
    line = r"^\[ *\d+\] +([\d.]+)-([\d.]+) +sec +[\d.]+ \w+ +([\d.]+) Kbits/sec *$"
    found = [tuple(map(float, match)) for match in re.findall(line, report, re.MULTILINE)]
    rates = [rate * 1e3 for begin, end, rate in found if 0.4 < end - begin < 0.6 and end < seconds + 0.1]
    if len(rates) < seconds:
        raise ToolError("iperf3's server had no regular half seconds: the host is too slow for this link")
    return rates


def _limit_buffers(host: Namespace, setting: str, most: float) -> None:
    """Set the limits of TCP's buffers in one host (ip-sysctl, kernel documentation: minimum, default and maximum)."""
    with host.entered():
        Path(f"/proc/sys/net/ipv4/{setting}").write_text(f"4096 {min(131072, most):.0f} {most:.0f}")


def _run(host: Namespace, *command: str) -> str:
    """The output of a command in a host; raises ToolError."""
    with host.entered():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output = process.communicate(timeout=_SECONDS)[0]
    except subprocess.TimeoutExpired:
        raise ToolError(f"{command[0]} was not done after {_SECONDS:g} s") from None
    finally:
        process.kill()
        process.wait()
    if command[0] == "iperf3" and process.returncode:
        raise ToolError(f"iperf3 said {json.loads(output).get('error', output)!r}")
    return output
