"""The verdict on a run: fidelity, expectations, invariants, exit status."""
