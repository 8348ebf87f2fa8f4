"""The gate before every request: loopback names only, same origin, a token; else nothing is served."""

from __future__ import annotations

import hmac
import secrets
from typing import Any
from urllib.parse import urlencode, urlsplit

from tornado import httputil, web

from cdpkit.ui import page
from cdpkit.ui.messages import text

#: Names under which a loopback server may be asked.
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Gate:
    """Decide whether a request may come in.

    Parameters
    ----------
    token : str
        Secret of the start link; compared in constant time, never logged.
    hosts : tuple of str
        Further host names to answer to, for a proxy or a tunnel.

    Notes
    -----
    Any port of an allowed name is accepted, so that an SSH tunnel works; an ``Origin``, where a
    browser sends one, must be exactly the host asked. The cookie is per port: cookies ignore ports.
    """

    def __init__(self, token: str, hosts: tuple[str, ...] = ()) -> None:
        self._token, self.hosts = token, {*LOOPBACK, *hosts}
        self._sessions: set[str] = set()

    def address_fault(self, request: httputil.HTTPServerRequest) -> bool:
        """Tell whether the host, or the origin beside it, is a stranger's."""
        try:
            asked = urlsplit(f"//{request.headers.get('Host', '')}")
            asked.port  # noqa: B018 - raises on a port that is no number
        except ValueError:
            return True
        name = f"[{asked.hostname}]" if ":" in (asked.hostname or "") else asked.hostname
        if name not in self.hosts or asked.username is not None:
            return True
        origin = request.headers.get("Origin") or request.headers.get("Sec-Websocket-Origin")
        return origin is not None and urlsplit(origin).netloc.lower() != request.headers["Host"].lower()

    def known(self, request: httputil.HTTPServerRequest, cookie: str) -> bool:
        """Tell whether the visitor has shown the token before."""
        held = request.cookies.get(cookie)
        return held is not None and held.value in self._sessions

    def shown(self, request: httputil.HTTPServerRequest) -> bool:
        """Tell whether the request carries the token."""
        given = request.query_arguments.get("token", [b""])[-1]
        return hmac.compare_digest(given, self._token.encode())

    def admit(self) -> str:
        """Open a session and return its name."""
        session = secrets.token_urlsafe(32)
        self._sessions.add(session)
        return session


class GatedApplication(web.Application):
    """A tornado application whose every route, sockets and static files included, is behind a gate."""

    def __init__(self, gate: Gate, **settings: Any) -> None:
        self.gate = gate
        super().__init__(None, **settings)

    def find_handler(self, request: httputil.HTTPServerRequest, **kwargs: object):
        """Return the handler of a request, or the one that refuses it."""
        refused: str | None = None
        if self.gate.address_fault(request):
            refused = "host"
        elif request.method == "GET" and self.gate.shown(request):
            return self.get_handler_delegate(request, Welcome, {"gate": self.gate})
        elif not self.gate.known(request, cookie_name(request)):
            refused = "token"
        if refused:
            return self.get_handler_delegate(request, Refusal, {"reason": refused})
        return super().find_handler(request, **kwargs)


def cookie_name(request: httputil.HTTPServerRequest) -> str:
    """Return the session cookie's name for the port asked."""
    return f"cdpkit-{urlsplit('//' + request.host).port or 80}"


class Refusal(web.RequestHandler):
    """Say no in both languages, and nothing else."""

    def initialize(self, reason: str) -> None:
        """Keep why."""
        self.reason = reason

    def check_xsrf_cookie(self) -> None:
        """Skip the check: it would log the address, and there is nothing to protect."""

    def prepare(self) -> None:
        """Answer whatever the method."""
        self.set_status(403)
        self.set_header("Cache-Control", "no-store")
        self.finish(page.plain(text(f"refused.{self.reason}.title"), text(f"refused.{self.reason}.body")))

    def compute_etag(self) -> None:
        """Send no tag: there is nothing to cache."""
        return None


class Welcome(web.RequestHandler):
    """Swap the token in the address for a cookie, so that it stays out of history and referrers."""

    def initialize(self, gate: Gate) -> None:
        """Keep the gate."""
        self.gate = gate

    def get(self) -> None:
        """Set the cookie and come back to the same page without the token."""
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_cookie(cookie_name(self.request), self.gate.admit(), httponly=True, samesite="Lax")
        rest = [
            (k, v.decode("utf-8", "replace"))
            for k, vs in self.request.query_arguments.items()
            if k != "token"
            for v in vs
        ]
        target = "/" + self.request.path.lstrip("/\\")
        self.redirect(f"{target}?{urlencode(rest)}" if rest else target)
