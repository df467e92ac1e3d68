"""Studies. Each reads runs, logs or labels and produces the figures of one question."""
