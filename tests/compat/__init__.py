"""The clients that people already have, against a running server. Needs the dependency group `compat`."""
