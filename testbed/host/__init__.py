"""What this machine is, and what it can run: the doctor, the node image, CPU and memory, how fast devices are."""
