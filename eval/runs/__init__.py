"""Runs. Reads a request, produces run folders, and compares them."""
