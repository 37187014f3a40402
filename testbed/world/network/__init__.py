"""The network of a world: interfaces, routes and links, and a probe that measures the links."""
