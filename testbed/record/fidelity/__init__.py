"""Whether the links were what was asked for: they are measured before and after play."""
