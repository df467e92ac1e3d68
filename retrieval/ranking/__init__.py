"""Ranking. Reads a query, produces the candidates of the target domain in order, with what each signal says."""
