"""Retrieval: from domain data to a ranking of candidates in the target domain.

Reads catalogues and interactions, produces a `Ranking`. Imports nothing of the other two packages.
"""
