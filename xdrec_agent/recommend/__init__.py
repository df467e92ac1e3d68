"""The whole way. Reads a query, produces explained recommendations, and keeps what was answered."""
