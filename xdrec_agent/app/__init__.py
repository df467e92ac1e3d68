"""The parts put together. Reads settings, produces open parts, checks of what is ready, demos, personal data."""
