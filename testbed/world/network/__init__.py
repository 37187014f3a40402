"""The network of a world: namespaces, interfaces, routes, links, and a probe that measures them."""
