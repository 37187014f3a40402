"""What a run leaves behind: its directory, the traces in it, and the numbers that follow from them."""
