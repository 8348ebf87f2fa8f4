"""The command line: a thin door to what the library does."""

from cdpkit.cli import files, pages, runs  # noqa: F401  (each registers its commands)
from cdpkit.cli.app import app, main

__all__ = ["app", "main"]
