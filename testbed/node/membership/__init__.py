"""Which neighbours a node counts on (SWIM)."""
