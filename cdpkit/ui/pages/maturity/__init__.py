"""Page H, maturity: where the organisation stands, by what it says and by what its data show."""

from cdpkit.ui.pages.maturity.view import page

__all__ = ["page"]
