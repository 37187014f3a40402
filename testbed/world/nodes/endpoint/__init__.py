"""Nodes whose model is somebody else's OpenAI-compatible server."""
