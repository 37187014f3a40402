"""Real hardware behind interfaces of this host, as nodes behind emulated links.

stand-in namespace of the node                     the board
eth0 ══ emulated link ══ …
  │
bridge ─ nic ═══════════════ cable ═══════════════ eth0: 10.0.0.7 (emulated), 169.254.7.2 (control)
  └ 169.254.7.1 (control)

stand_in.py    the namespace, its bridge and its filter
addressing.py  who answers for an address on a cable
"""
