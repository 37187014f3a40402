"""A hardware-in-the-loop testbed for language models at the network edge."""
