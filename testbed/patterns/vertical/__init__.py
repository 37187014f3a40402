"""What patterns over tiers share: stages, budgets, privacy, and what to do while a node cannot be reached."""
