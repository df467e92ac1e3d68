"""Any table, row by row. Reads files of any dialect, produces typed values by field, and rejects."""
