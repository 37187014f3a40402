"""The parts of benchmarks/links.py."""
