"""What nodes of a ring send each other: messages, the frames that carry them, and the connections of a hop."""
