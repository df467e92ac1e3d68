"""Other people's systems. Reads and writes files by which they take part."""
