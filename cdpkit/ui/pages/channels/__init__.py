"""The channels page: what each channel truly brought."""

from cdpkit.ui.pages.channels.view import page

__all__ = ["page"]
