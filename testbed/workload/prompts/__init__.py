"""Prompt sources, one file each."""
