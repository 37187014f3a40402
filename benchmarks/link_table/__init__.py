"""The table that holds the testbed's links against what was asked of them, and against Mininet's own TCLink."""
