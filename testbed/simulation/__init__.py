"""A scenario in virtual time: patterns' own code on a simulated clock, nodes and network, calibrated by real runs."""
