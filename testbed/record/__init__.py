"""The recording of a run while it goes on, and the directory that it leaves."""
