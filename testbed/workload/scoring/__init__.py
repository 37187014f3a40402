"""How right an answer is: one file a scorer."""
