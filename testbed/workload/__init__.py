"""Prompts, their arrivals, and the scores of answers."""
