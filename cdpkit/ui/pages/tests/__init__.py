"""The tests page: what was tried against a control group, and what it changed."""

from cdpkit.ui.pages.tests.view import page

__all__ = ["page"]
