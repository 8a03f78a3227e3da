"""The subjects of `scripts/bench.py`, a file a subject."""
