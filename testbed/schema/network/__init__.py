"""The network of a topology file: devices, links and routes."""
