"""Fitting. Reads validation users, produces weights of signals and what a judge is worth."""
