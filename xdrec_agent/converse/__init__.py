"""Conversation. Reads what a person says, produces a state, a ranking and its reasons, turn by turn."""
