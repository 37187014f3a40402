"""How nodes work together on a prompt: one file a pattern, with its options and what it does.

A pattern's logic runs in the nodes, so this package needs nothing but pydantic and :mod:`testbed.core`. To add a
pattern, write its file and register its class (docs/extending.md).
"""
