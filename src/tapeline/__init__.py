"""tapeline: a self-hosted call recorder."""

__version__ = "0.1.0"
