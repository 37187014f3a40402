"""The one door for a node's traffic: HTTP requests, datagrams and streams, as bytes between hosts.

Nothing else in ``testbed.node`` opens a socket, so encryption and authentication belong here. This package knows no
pattern, no ring and no membership.

    http.py         requests to other nodes; servers for nodes and for the host
    datagrams.py    heartbeats
    streams.py      the hops of a ring
    sockets.py      the address that all of them listen on
"""
