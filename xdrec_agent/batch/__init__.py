"""Batches on Ray. Reads users, produces recommendations for all of them in a folder of Parquet files."""
