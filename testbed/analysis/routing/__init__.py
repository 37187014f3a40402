"""Routers, fitted and judged from run directories."""
