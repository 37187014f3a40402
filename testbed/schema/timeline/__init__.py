"""The timeline of a scenario: its entries, the triggers that they wait for, and faults drawn at random."""
