"""Output for people: tables, the live view, reports, figures, Perfetto traces, drawings of topologies."""
