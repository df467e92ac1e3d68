"""Files of models. Reads names, produces verified model folders: sources, conversion, adapters, merging."""
