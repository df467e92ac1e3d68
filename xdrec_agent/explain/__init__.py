"""Explanations. Reads evidence, produces a checked reason for each recommended item."""
