"""Links between two interfaces, with the properties of :mod:`testbed.schema.network.link`. One file per backend.

=========== ==================================================================================
backend     a link is
=========== ==================================================================================
kernel      a veth pair with TBF and netem; needs a kernel that has them
userspace   a pair of TAP devices and a relay process between them; runs wherever there is TUN
=========== ==================================================================================

Everybody else uses :class:`~.running.RunningLinks`, which holds the current properties of every link.
"""
