"""Queues against theory."""
