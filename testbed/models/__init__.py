"""Models: where they come from, what their files contain, and how rings split them."""
