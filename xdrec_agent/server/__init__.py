"""vLLM as a child process. Reads a model folder, produces a running server and the file that finds it."""
