"""Real hardware behind interfaces of this host, as nodes behind emulated links.

stand-in namespace of the node                     the board
eth0 ══ emulated link ══ …
  │
bridge ─ nic ═══════════════ cable ═══════════════ eth0: 10.0.0.7 (emulated), 169.254.7.2 (control)
  └ 169.254.7.1 (control)

kinds.py         the node kinds, whose entries in a topology are in entries.py
stand_in.py      the namespace, its bridge and its filter; addressing.py finds who answers on a cable
device.py        a node about which nothing else is known
boards.py        starts boards; board.py is one with its agent, installation.py what a run puts on it
control.py       ssh to a board; preparation.py installs what it lacks before its first run
clock.py         a board's clock on the run's, by timeserver.py on the board
"""
