"""What the dashboard server answers: home, dashboards, exports, polite refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from voila.tornado.handler import TornadoVoilaHandler

from cdpkit import decisions
from cdpkit.errors import CdpkitError, ConsentError, IntegrityError
from cdpkit.ui import links, page
from cdpkit.ui.kernels import FAILED, Shelf
from cdpkit.ui.messages import text
from cdpkit.ui.navigation import entries
from cdpkit.ui.pages import home
from cdpkit.ui.published import published
from cdpkit.workspace import Workspace

#: Voila's widget manager is bundled with code that evaluates strings; only pages with callbacks load it.
LIVE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)

#: Decisions that pages show as waiting.
_SHOWN = ("audience", "complements", "maturity")

_WORDS = {404: "missing", 410: "used", 503: "busy"}


class Polite(JupyterHandler):
    """Errors in both languages, without a traceback."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write a small page that says what to do."""
        word = _WORDS.get(status_code, "error")
        if status_code == 503:
            self.set_header("Retry-After", "60")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(page.plain(text(f"refused.{word}.title"), text(f"refused.{word}.body")))


class Home(Polite):
    """The executive view, then dashboards by question: it needs no kernel."""

    def initialize(self, folder: Any, workspace: Workspace, version: str) -> None:
        """Keep where the dashboards are, and whose publication is shown."""
        self.folder, self.workspace, self.version = folder, workspace, version

    @web.authenticated
    def get(self) -> None:
        """Write the landing page of the present publication."""
        shown = home.page(published(self.workspace).read("home"), entries(self.folder))
        self.set_header("Cache-Control", "no-store")
        self.finish(page.document(shown, self.version))


class Dashboard(Polite, TornadoVoilaHandler):
    """One dashboard: from the shelf, or with a kernel of its own where it has callbacks."""

    def initialize(self, shelf: Shelf, folder: Any, **kwargs: Any) -> None:
        """Keep the shelf and where the dashboards are."""
        super().initialize(**kwargs)
        self.shelf, self.folder = shelf, folder

    @web.authenticated
    async def get(self, name: str) -> None:  # type: ignore[override]
        """Write a dashboard; a page whose notebook failed answers 500, not 200."""
        entry = next((item for item in entries(self.folder) if item.name == name), None)
        if entry is None:
            raise web.HTTPError(404)
        _ = self.xsrf_token  # sets the cookie that the export form sends back
        if entry.callbacks:
            await self.shelf.renew_pools()
            self.set_header("Content-Security-Policy", LIVE_POLICY)
            html = "".join([part async for part in self.get_generator(path=f"{name}.ipynb")])
            self.shelf.hand_over(html)
        else:
            html = await self.shelf.html(name)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        if FAILED in html:
            self.set_status(500)
        self.finish(html)


class Export(Polite):
    """Ask for a file: the answer is a link that works once."""

    def initialize(self, office: links.Office) -> None:
        """Keep the office that issues links."""
        self.office = office

    @web.authenticated
    def post(self) -> None:
        """Answer ``{"url", "filename"}``, or why not."""
        try:
            asked = json.loads(self.request.body[:10_000])
            given = [asked[key] for key in ("export", "purpose", "author")]
        except (ValueError, KeyError, TypeError):
            raise web.HTTPError(400) from None
        if not all(isinstance(value, str) for value in given):
            raise web.HTTPError(400)
        try:
            ticket, filename = self.office.ask(*given)
            paper, paper_name = self.office.ask_manifest(*given)
        except ConsentError as refusal:
            return self._refuse(403, refusal)
        except CdpkitError as refusal:
            return self._refuse(409, refusal)
        self.set_header("Cache-Control", "no-store")
        manifest = {"url": f"/export/{paper}", "filename": paper_name}
        self.finish({"url": f"/export/{ticket}", "filename": filename, "manifest": manifest})

    def _refuse(self, status: int, refusal: CdpkitError) -> None:
        self.set_status(status)
        self.finish({"refused": str(refusal)})


class Delivered(Polite):
    """The file behind a link, once."""

    def initialize(self, office: links.Office) -> None:
        """Keep the office that issued the link."""
        self.office = office

    @web.authenticated
    def get(self, ticket: str) -> None:
        """Write the file as an attachment; the trace is on disk before the first byte leaves."""
        try:
            found = self.office.deliver(ticket)
        except IntegrityError as fault:
            self.log.error("export refused: %s", fault)
            raise web.HTTPError(500) from None
        if found is None:
            raise web.HTTPError(410)
        filename, content = found
        kind = "application/json" if filename.endswith(".json") else "text/csv"
        self.set_header("Content-Type", f"{kind}; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{filename}"')
        self.set_header("Cache-Control", "no-store")
        self.finish(content)


class Answers(Polite):
    """Keep the answers of the maturity form: a decision that the next run takes in."""

    def initialize(self, workspace: Workspace, clock: Callable[[], datetime]) -> None:
        """Keep whose inbox it is, and the clock: a server answers now."""
        self.workspace, self.clock = workspace, clock

    @web.authenticated
    def post(self) -> None:
        """Answer the stage of what was said, or what is wrong with it."""
        from cdpkit import maturity

        try:
            asked = json.loads(self.request.body[:20_000])
            author, answers = str(asked["author"]), dict(asked["answers"])
        except (ValueError, KeyError, TypeError):
            raise web.HTTPError(400) from None
        try:
            maturity.save(self.workspace, answers, author=author, decided_at=self.clock())
        except CdpkitError as refusal:
            self.set_status(400)
            self.finish({"refused": str(refusal)})
            return
        stage = maturity.assess(answers)
        said = {language: stage.sentence(language) for language in ("fr", "en")}
        self.set_header("Cache-Control", "no-store")
        self.finish({"stage": stage.stage, "sentence": said, "pending": True})


class Asked(Polite):
    """Keep what a marketer asks for beside an insight: a decision that the next run carries out."""

    def initialize(self, workspace: Workspace, clock: Callable[[], datetime]) -> None:
        """Keep whose inbox it is, and the clock: a server answers now."""
        self.workspace, self.clock = workspace, clock

    @web.authenticated
    def post(self, kind: str) -> None:
        """Answer that it was kept, or what is wrong with it; the rules come from the published pages."""
        try:
            body = json.loads(self.request.body[:20_000])
            who = {"author": str(body["author"]), "reason": str(body.get("reason", ""))}
            self._keep(kind, body, who)
        except (ValueError, KeyError, TypeError):
            raise web.HTTPError(400) from None
        except CdpkitError as refusal:
            self.set_status(400)
            self.finish({"refused": str(refusal)})
            return
        self.finish({"pending": True})

    def _keep(self, kind: str, body: dict[str, Any], who: dict[str, str]) -> None:
        from cdpkit.segments import asked

        offers, now = links.offers(self.workspace), self.clock()
        if kind == "audience":
            offer = offers["audiences"].get(str(body["offer"]))
            if offer is None:
                raise CdpkitError("an audience must be offered by a published page")
            asked.ask(self.workspace, offer, str(body["channel"]), decided_at=now, **who)
        else:
            others = [str(one) for one in body["others"]]
            catalogue = offers["catalogue"]
            asked.propose(self.workspace, str(body["product"]), others, catalogue, decided_at=now, **who)


class Pending(Polite):
    """Say which decisions wait for the next run: their kind and subject, nobody's name."""

    def initialize(self, workspace: Workspace) -> None:
        """Keep whose inbox it is."""
        self.workspace = workspace

    @web.authenticated
    def get(self) -> None:
        """Answer ``{"pending": [{"kind", "subject"}]}``."""
        waiting = decisions.pending(self.workspace)
        shown = [{"kind": one.kind, "subject": one.subject} for one in waiting if one.kind in _SHOWN]
        self.set_header("Cache-Control", "no-store")
        self.finish({"pending": shown})


class Nothing(Polite):
    """Any other address."""

    def prepare(self) -> None:  # type: ignore[override]
        """Answer 404 whatever the method."""
        raise web.HTTPError(404)
