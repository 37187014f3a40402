"""What runs inside a node: one llama.cpp model, one FCFS queue in front of it, and the agent that joins a pattern.

It stands apart from the rest: the host starts it with a :class:`~testbed.node.config.NodeConfig` and then talks to it
over its API, on a Unix socket, and by one file (:mod:`.slowness`); other nodes talk to it over the emulated network.
"""
