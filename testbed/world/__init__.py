"""A running world: containers, a network between them, and what is left when a run dies."""
