"""One world on several engine hosts: which node stands where."""
