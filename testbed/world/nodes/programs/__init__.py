"""Nodes that run somebody else's image: any program, with the caps, links and faults of every other node."""
