"""Adaptation. Reads models and what people liked, produces models that carry taste from one domain to another."""
