"""Queues beside queueing theory."""
