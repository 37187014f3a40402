"""A model in memory, the queue in front of it, and what slows it down."""
