"""What latencies are spent on."""
