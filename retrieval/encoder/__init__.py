"""Encoders. Read a sentence-transformers model and texts, produce unit vectors."""

from retrieval.encoder.int8 import Int8Encoder
from retrieval.encoder.sentence import Encoder, SentenceEncoder, Vectors, load_sentence_transformer

__all__ = ["Encoder", "Int8Encoder", "SentenceEncoder", "Vectors", "load_sentence_transformer"]
