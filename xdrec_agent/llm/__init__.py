"""One client for every endpoint. Reads messages, produces text, validated objects or log-probabilities."""
