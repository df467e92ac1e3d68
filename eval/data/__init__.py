"""Evaluation data. Reads a store, produces cases by protocol, guarded against leakage."""
