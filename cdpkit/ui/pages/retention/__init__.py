"""The retention page: who may leave, what is at risk, and what each customer should bring."""

from cdpkit.ui.pages.retention.view import page

__all__ = ["page"]
