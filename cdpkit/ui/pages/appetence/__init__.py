"""Page C, appetence: who is hot, how many to contact, why, which file, how sure."""

from cdpkit.ui.pages.appetence.best import best
from cdpkit.ui.pages.appetence.payload import empty, payload
from cdpkit.ui.pages.appetence.view import page

__all__ = ["best", "empty", "page", "payload"]
