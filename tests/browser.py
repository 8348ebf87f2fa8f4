"""Which browser proves the dashboards: found by name, and what to do where there is none.

``python tests/browser.py`` prints its path, or fails with what to install.
"""

from __future__ import annotations

import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip


def find() -> str:
    """Return the path of the first browser found.

    Raises
    ------
    LookupError
        When there is none, with what to install.
    """
    for name in NAMES:
        if path := shutil.which(name):
            return path
    raise LookupError(
        f"The dashboards are proved in a browser: one of {', '.join(NAMES)} must be on the PATH. "
        "On Debian or Ubuntu: sudo apt-get install chromium"
    )


if __name__ == "__main__":
    try:
        print(find())
    except LookupError as absent:
        sys.exit(str(absent))
