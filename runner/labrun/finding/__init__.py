"""Findings that travel: a run, or some labs of it, as one file that a stranger can check, run again and compare."""
