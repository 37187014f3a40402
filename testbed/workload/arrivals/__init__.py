"""When prompts arrive: one file a process."""
