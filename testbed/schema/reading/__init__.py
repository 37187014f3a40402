"""YAML files with the line of each value, and mistakes in them as sentences."""
