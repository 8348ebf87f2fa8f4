"""One customer reference out of many sources, and models and audiences that act on it."""

__version__ = "0.1.0"
