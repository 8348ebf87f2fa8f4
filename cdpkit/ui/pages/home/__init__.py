"""The executive view: one screen that says where the customer base stands and what to do this week."""

from cdpkit.ui.pages.home.view import page

__all__ = ["page"]
