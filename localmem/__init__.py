"""A local, offline operating system for a language model: it moves its own memory between window and disk."""

__version__ = "0.1.0"
