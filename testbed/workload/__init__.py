"""What is asked of the nodes: prompts, when they arrive, and whether an answer is right."""
