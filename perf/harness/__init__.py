"""What perf/run is made of: servers to start, cases to measure, and reports to write. Python's standard library only."""
