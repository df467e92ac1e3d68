"""The routes of the API. Each reads requests of one kind and produces replies."""
