"""What a node sends to other nodes, and how it asks again."""
