"""Statistics. Reads values by user, produces metrics, intervals, tests and verdicts."""
