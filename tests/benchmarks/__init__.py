"""Measured figures: `python -m tests.benchmarks` runs all, `python -m tests.benchmarks.NAME` one."""
