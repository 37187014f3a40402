"""What becomes of a run: its fidelity, its expectations, the invariants."""
