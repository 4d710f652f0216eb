"""The voice gateway. This module imports nothing: workers import it from foreign virtual environments."""

__version__ = "0.1.0"
