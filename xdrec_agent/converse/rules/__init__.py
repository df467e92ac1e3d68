"""The rule NLU. Reads one turn, produces what it changes; needs no model."""
