"""What runs inside a node: one llama.cpp model, one FCFS queue in front of it, and the agent that joins a pattern.

The host starts a node with a :class:`~testbed.node.config.NodeConfig`. From then on the host uses the node's API on a
Unix socket, and one file (:mod:`.engine.slowness`). Other nodes reach it over the emulated network, through
:mod:`.transport` alone.
"""
