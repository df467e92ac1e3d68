"""The store, the truth. Reads items, interactions and relations, keeps them in SQL, produces them again."""
