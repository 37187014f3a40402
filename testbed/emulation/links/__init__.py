"""Links between two interfaces, each with a bandwidth and a delay: one file per backend.

=========== ==================================================================================
backend     a link is
=========== ==================================================================================
kernel      a veth pair with netem at both ends; needs a kernel that has it
userspace   a pair of TAP devices and a relay process between them; runs wherever there is TUN
=========== ==================================================================================
"""

from typing import Final

FRAME: Final = 1514
"""Bytes of a full Ethernet frame: 1,500 of payload and 14 of header, which is what the kernel counts, too."""

QUEUE_FRAMES: Final = 1000
"""Full frames that may wait for a link to become free; the length of Linux's own default queue (txqueuelen)."""
