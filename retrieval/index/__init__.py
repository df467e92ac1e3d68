"""What is searched. Reads the store, produces snapshots: vectors, BM25, interactions and metadata as files."""
