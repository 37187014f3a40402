"""Foundations that all other packages import: units, clock, seeds, errors, cache and registry."""
