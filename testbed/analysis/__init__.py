"""Analysis of runs, from their directories alone: it knows no world, and needs no kind that a run used."""
