"""Topologies as pictures and as text."""
