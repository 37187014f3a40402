"""For people: the terminal, the live view, reports, figures, Perfetto, drawings of topologies."""
