"""Links between two interfaces, with all the properties of testbed.schema.network.link: one file per backend.

=========== ==================================================================================
backend     a link is
=========== ==================================================================================
kernel      a veth pair with TBF and netem; needs a kernel that has them
userspace   a pair of TAP devices and a relay process between them; runs wherever there is TUN
=========== ==================================================================================

Those who use links go through RunningLinks, which knows what every link is at the moment.
"""
