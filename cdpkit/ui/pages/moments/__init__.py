"""The moments page: at which hour, at which pace and in which order to speak to people."""

from cdpkit.ui.pages.moments.view import page

__all__ = ["page"]
