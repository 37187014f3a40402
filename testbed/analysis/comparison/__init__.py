"""Comparisons of runs: repetitions, sweeps, baselines."""
