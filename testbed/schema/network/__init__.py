"""Topology files: devices, links, routes."""
