"""Calls between nodes: the OpenAI form, retries, and that each named call is computed once."""
