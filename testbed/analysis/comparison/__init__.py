"""Runs held against other runs: repetitions, sweeps, baselines."""
