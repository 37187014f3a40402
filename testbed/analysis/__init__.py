"""What follows from a run directory alone."""
