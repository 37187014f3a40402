"""The nodes of a world, as the host holds them."""
