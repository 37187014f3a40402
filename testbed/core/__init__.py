"""What every part of the testbed may use, and nothing of it uses the testbed."""
