"""The sales page: twins of the best customers, what goes with what, who may move up the range."""

from cdpkit.ui.pages.sales.view import page

__all__ = ["page"]
