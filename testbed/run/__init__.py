"""Runs from start to end: one, a campaign of several, a sweep, chaos."""
