"""What makes topology files out of something else, and what shows them."""
