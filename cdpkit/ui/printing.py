"""A page on paper: PDF printed by the browser of this machine, where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from cdpkit.errors import CdpkitError

#: Browsers that print without a screen, by name.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")

#: Seconds a page may take to print.
PATIENCE = 120


def pdf(page: Path, out: Path) -> Path:
    """Print an HTML file to PDF.

    Parameters
    ----------
    page : Path
        A file that `cdpkit.ui.still` wrote.
    out : Path
        The PDF.

    Returns
    -------
    Path
        The PDF.

    Raises
    ------
    CdpkitError
        Where no browser is found, or it printed nothing.
    """
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise CdpkitError(
            f"a PDF needs one of {', '.join(BROWSERS)} on the PATH",
            "none",
            "Open the HTML in any browser and print it: its style is made for paper",
        )
    alone = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser, "--headless=new", *alone, "--disable-gpu", "--disable-sync", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
            "--virtual-time-budget=8000", "--no-pdf-header-footer", f"--print-to-pdf={out.absolute()}",
            page.absolute().as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    if not out.is_file() or not out.read_bytes().startswith(b"%PDF"):
        raise CdpkitError("the browser must print the page", f"exit code {done.returncode}")
    return out
