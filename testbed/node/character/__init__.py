"""Nodes that misbehave: what the faults of character make of a node's answers and requests."""
