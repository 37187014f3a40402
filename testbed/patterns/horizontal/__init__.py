"""What patterns over equal nodes share: panels, ballots, and the prompt that aggregates."""
