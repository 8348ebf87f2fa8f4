"""The data page: what came in, how good and how fresh it is, who agreed, and who is one person."""

from cdpkit.ui.pages.data.view import page

__all__ = ["page"]
