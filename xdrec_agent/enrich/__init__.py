"""Enrichment. Reads a catalogue and asks the language model, produces facets that are kept apart from the catalogue.

`asking` asks about one item twice and keeps what both answers agree on, `kept` is the table, `running` goes through a
domain; what it has kept a killed run need not ask again.
"""
