"""Topologies from GraphML files and generators, and layouts for drawings."""
