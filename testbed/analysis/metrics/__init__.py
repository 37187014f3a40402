"""The built-in metrics: functions over a part of a run, related ones in one file."""
