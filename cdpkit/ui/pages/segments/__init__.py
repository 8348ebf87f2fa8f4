"""The segments page: who they are, where they stand, and where contacts are lost."""

from cdpkit.ui.pages.segments.view import page

__all__ = ["page"]
