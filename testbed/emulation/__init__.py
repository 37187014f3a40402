"""What the host makes of a topology: containers, a network between them, and what is left when a run dies."""
