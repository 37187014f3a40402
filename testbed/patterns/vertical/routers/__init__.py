"""Routers: what is learned of prompts, and decides which of two stages answers."""
