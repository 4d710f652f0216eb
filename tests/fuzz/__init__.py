"""Fuzzing with atheris: `python -m tests.fuzz TARGET --seconds N`, or `all`. `targets.py` says what is fuzzed."""
