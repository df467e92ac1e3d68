"""Files into the store. Reads tables and triples, produces rows in the store and a report of what was refused."""
