"""Power sensors, one file a kind."""
