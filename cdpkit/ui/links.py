"""Files leave through a link that works once, for a stated purpose, and leave a trace."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdpkit.errors import CdpkitError, ConsentError, IntegrityError
from cdpkit.ui.published import published
from cdpkit.workspace import Workspace

#: Seconds in which a link must be used.
LIFE_S = 600


@dataclass(frozen=True)
class Delivery:
    """What a link gives: the file, and what is recorded when it leaves.

    Parameters
    ----------
    path : Path
        The file.
    filename : str
        Name the browser saves it under.
    trace : dict
        Audience, purpose, author, counts and SHA-256.
    """

    path: Path
    filename: str
    trace: dict[str, Any]


class Links:
    """One-time links, kept in memory: a restart forgets them.

    Parameters
    ----------
    life_s : float, default 600
        Seconds in which a link must be used.
    clock : callable
        A clock that only goes forward.
    """

    def __init__(self, life_s: float = LIFE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._life, self._clock = life_s, clock
        self._open: dict[str, tuple[float, Delivery]] = {}

    def issue(self, delivery: Delivery) -> str:
        """Return a ticket nobody can guess."""
        now = self._clock()
        self._open = {ticket: held for ticket, held in self._open.items() if held[0] > now}
        ticket = secrets.token_urlsafe(32)
        self._open[ticket] = (now + self._life, delivery)
        return ticket

    def take(self, ticket: str) -> Delivery | None:
        """Return what a ticket gives, once; None when it was used, expired or never was."""
        expires, delivery = self._open.pop(ticket, (0.0, None))
        return delivery if expires > self._clock() else None


def prepare(workspace: Workspace, export: str, purpose: str, author: str) -> Delivery:
    """Check a request against the published pages and the audience's manifest, return what may leave.

    Parameters
    ----------
    workspace : Workspace
        Holds ``data/exports/<export>/audience.csv`` and ``manifest.json``.
    export : str
        Name of the export, as a published page gives it.
    purpose : str
        Must be one of the manifest's.
    author : str
        Who asks; kept with the trace.

    Returns
    -------
    Delivery
        The file and its trace.

    Raises
    ------
    CdpkitError
        If no published page offers the export, nobody is in it, or nobody says who asks.
    ConsentError
        If the purpose is not one the audience was made for.
    IntegrityError
        If the manifest is gone, or describes another file than the published page does.
    """
    author = " ".join(author.split())
    if not 0 < len(author) <= 80:
        raise CdpkitError("who asks must be said, in at most 80 letters", f"{len(author)} letters")
    offered = _offered(workspace).get(export)
    if offered is None or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,120}", export):
        raise CdpkitError("an export must be offered by a published page", do="Run the audiences notebook")
    folder = workspace.exports / export
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
    except FileNotFoundError:
        raise IntegrityError("an offered export must still have its manifest") from None
    if manifest["sha256"] != offered["sha256"]:
        raise IntegrityError("a manifest must describe the file that the page offers")
    if purpose not in offered["purposes"]:
        raise ConsentError("an export's purpose must be one of its audience's", repr(purpose)[:40])
    people = int(manifest["waterfall"][-1]["n_left"])
    if not people:
        raise CdpkitError("an audience must hold somebody to be exported", "nobody")
    trace = {"export": export, "purpose": purpose, "author": author, "people": people}
    trace |= {key: manifest[key] for key in ("audience", "as_of", "channel", "destination", "sha256")}
    filename = f"{manifest['audience']}_{manifest['as_of'][:10]}.csv"
    return Delivery(folder / "audience.csv", filename, trace)


def _offered(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Return the exports that the published pages offer, by name: a run that failed offers nothing."""
    found = published(workspace)
    pages = [found.read(name) or {} for name in found.pages]
    return {audience["export"]: audience for page in pages for audience in page.get("audiences", ())}


def offers(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Return what the published pages let one ask for: ``audiences`` by name, and the ``catalogue``."""
    found = published(workspace)
    pages = [found.read(name) or {} for name in found.pages]
    audiences = {one["name"]: one for page in pages for one in page.get("offers", ())}
    catalogue = {code: name for page in pages for code, name in page.get("catalogue", {}).items()}
    return {"audiences": audiences, "catalogue": catalogue}


def manifest(delivery: Delivery) -> Delivery:
    """Return the delivery of the manifest that lies beside an export: counts and hashes, nobody's data."""
    path = delivery.path.with_name("manifest.json")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    trace = delivery.trace | {"sha256": digest, "manifest": True}
    return Delivery(path, delivery.filename.removesuffix(".csv") + "_manifest.json", trace)


def content(delivery: Delivery) -> bytes:
    """Return the file whole, once it is the one its manifest describes.

    Raises
    ------
    IntegrityError
        If it is gone or is not what was published.
    """
    try:
        held = delivery.path.read_bytes()
    except FileNotFoundError:
        raise IntegrityError(
            "an exported file must still be there", do="Run the audiences notebook"
        ) from None
    if hashlib.sha256(held).hexdigest() != delivery.trace["sha256"]:
        raise IntegrityError("an exported file must be the one its manifest describes")
    return held


class Office:
    """Asks, checks, records and hands over: what the server's two export routes do.

    Parameters
    ----------
    workspace : Workspace
        Holds the exports and the inbox of decisions.
    record : callable
        Keeps a trace as a decision; called before the first byte leaves, so that a file whose trace
        cannot be kept does not leave.
    links : Links, optional
        One-time links.
    """

    def __init__(
        self,
        workspace: Workspace,
        record: Callable[[Workspace, dict[str, Any]], None],
        links: Links | None = None,
    ) -> None:
        self.workspace, self.record, self.links = workspace, record, links or Links()

    def ask(self, export: str, purpose: str, author: str) -> tuple[str, str]:
        """Return the ticket and the file name of a request that may be met."""
        delivery = prepare(self.workspace, export, purpose, author)
        content(delivery)
        return self.links.issue(delivery), delivery.filename

    def ask_manifest(self, export: str, purpose: str, author: str) -> tuple[str, str]:
        """Return the ticket and the file name of the manifest of a request that may be met."""
        delivery = manifest(prepare(self.workspace, export, purpose, author))
        return self.links.issue(delivery), delivery.filename

    def deliver(self, ticket: str) -> tuple[str, bytes] | None:
        """Return the file name and the file of a ticket, once, its trace recorded; else None."""
        delivery = self.links.take(ticket)
        if delivery is None:
            return None
        held = content(delivery)
        self.record(self.workspace, delivery.trace)
        return delivery.filename, held
