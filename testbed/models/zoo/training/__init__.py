"""Training of the zoo's models. A run imports nothing of it; it needs the extra ``zoo`` (torch, tokenizers)."""
