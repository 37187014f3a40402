"""Schemas of scenario and topology files, which report every mistake with its line."""
