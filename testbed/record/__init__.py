"""What is taken down while a run goes on, and where it lies."""
