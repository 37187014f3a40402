"""A model in memory, the queue in front of it, and the fault that slows it down."""
