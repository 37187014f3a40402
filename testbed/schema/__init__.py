"""What the user wrote: models of the files, and every mistake with its line. Knows no world."""
