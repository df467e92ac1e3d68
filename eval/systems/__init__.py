"""Systems under test. Reads training histories, produces scorers and judgements to compare."""
