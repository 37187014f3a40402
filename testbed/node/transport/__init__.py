"""The one door for a node's traffic: HTTP requests, datagrams and streams, as bytes between hosts.

Nothing else in ``testbed.node`` opens a socket, so encryption and authentication belong here. This package knows no
pattern, no ring and no membership.

    http.py         requests to other nodes; servers for nodes and for the host
    datagrams.py    heartbeats
    streams.py      the hops of a ring
    sockets.py      the address that all of them listen on

What secures them, if the scenario asks for it (docs/security.md):

    door.py         which of the following holds for which traffic
    credentials.py  what the host hands to a node
    signing.py      signatures under a key for each pair of nodes; signed_http.py puts them into headers
    tls.py          certificates of the run's own authority
    refusals.py     counts what nobody of the run has sent
"""
