"""Reports. Reads results, produces pages, pictures and tables."""
