"""What this project measures of itself; not in the wheel. `python -m benchmarks` lists the benchmarks."""
