"""Encoders. Read texts, produce unit vectors."""
