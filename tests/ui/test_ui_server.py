"""The dashboard server, really started: no token no answer, strangers refused, files leave once."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from cdpkit import decisions
from cdpkit.errors import CdpkitError, ConsentError, IntegrityError
from cdpkit.ui import links
from cdpkit.workspace import Workspace

TOKEN = "a-token-for-tests-only"
ROUTES = [
    "/",
    "/page/appetence",
    "/page/live",
    "/static/cdpkit.js",
    "/static/plotly.min.js",
    "/export/anything",
    "/api/kernels/12345678-1234-1234-1234-123456789abc",
    "/api/kernels/12345678-1234-1234-1234-123456789abc/channels",
    "/voila/static/voila.js",
    "/voila/files/appetence.ipynb",
    "/voila/api/contents/",
    "/voila/tree",
    "/login",
    "/nowhere",
]


class Client:
    """A visitor with its own cookies, who may lie in its headers."""

    def __init__(self, url: str) -> None:
        self.netloc = urlsplit(url).netloc
        self.cookies: dict[str, str] = {}

    def ask(
        self, path: str, method: str = "GET", body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.netloc, timeout=180)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        answer = connection.getresponse()
        content = answer.read()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.split(";")[0]
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content


def kernels(server: int) -> int:
    """Count the kernels of a server."""
    found = 0
    for one in psutil.Process(server).children(recursive=True):
        with suppress(psutil.Error):
            found += any("ipykernel_launcher" in word for word in one.cmdline())
    return found


@pytest.fixture
def stranger(served: Any) -> Client:
    """A visitor without the token."""
    return Client(served.url)


@pytest.fixture
def visitor(served: Any) -> Client:
    """A visitor who came by the start link."""
    client = Client(served.url)
    assert client.ask(f"/?token={TOKEN}")[0] == 302
    return client


@pytest.mark.parametrize("path", ROUTES)
def test_without_the_token_nothing_is_served(stranger: Client, path: str) -> None:
    """No page, no file, no kernel, no login form: the same short refusal everywhere."""
    for asked in (path, f"{path}?token=wrong", f"{path}?token="):
        status, headers, content = stranger.ask(asked)
        assert status == 403 and b"jeton" in content and b"figure" not in content
        assert "set-cookie" not in headers


def test_post_without_the_token_is_refused(stranger: Client) -> None:
    """The token in the address opens a page, never an action."""
    assert stranger.ask(f"/export?token={TOKEN}", "POST", {})[0] == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "192.168.1.4:8866",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "",
        "localhost:99999x",
    ],
)
def test_strange_hosts_are_refused(visitor: Client, host: str) -> None:
    """A name that an attacker's DNS points here gets nothing, cookie or not."""
    assert visitor.ask("/page/appetence", Host=host)[0] in (400, 403)


def test_loopback_names_are_answered(visitor: Client) -> None:
    """Another loopback name and a tunnel's port pass the host check; the cookie belongs to its port."""
    port = visitor.netloc.split(":")[1]
    assert visitor.ask("/", Host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1.evil.example"]
)
def test_foreign_origins_are_refused(visitor: Client, origin: str) -> None:
    """A page of another origin, another local port included, may neither read, post nor open a socket."""
    kernel = "/api/kernels/12345678-1234-1234-1234-123456789abc/channels"
    assert visitor.ask("/page/appetence", Origin=origin)[0] == 403
    assert visitor.ask("/export", "POST", {}, Origin=origin)[0] == 403
    assert visitor.ask(kernel, Origin=origin, Upgrade="websocket", Connection="Upgrade")[0] == 403


def test_start_link_hides_the_token(served: Any) -> None:
    """The token leaves the address at once, goes back to the page asked, and never to another site."""
    client = Client(served.url)
    status, headers, _ = client.ask(f"/page/appetence?lang=en&token={TOKEN}")
    assert (status, headers["location"]) == (302, "/page/appetence?lang=en")
    assert "HttpOnly" in headers["set-cookie"] and "SameSite=Lax" in headers["set-cookie"]
    assert client.ask(f"//evil.example/x?token={TOKEN}")[1]["location"].startswith("/evil.example")
    assert TOKEN not in served.log.read_text()


def test_page_is_guarded_and_complete(visitor: Client) -> None:
    """A page comes with its headers, without source code, and the same for the next visitor."""
    status, headers, content = visitor.ask("/page/appetence")
    assert status == 200 and b"des clients sont chauds" in content
    assert b"from cdpkit" not in content and b"email_sha256" in content
    assert (
        "script-src" in headers["content-security-policy"]
        or "default-src 'self'" in headers["content-security-policy"]
    )
    assert headers["x-frame-options"] == "DENY" and headers["cache-control"] == "no-store"
    assert visitor.ask("/page/appetence")[2] == content


def test_overrides_and_files_are_closed(visitor: Client) -> None:
    """No template or theme from the address, no file of the folder, no traversal, no listing."""
    assert visitor.ask("/page/appetence?template=../../etc&theme=<script>")[0] == 200
    for path in (
        "/voila/files/appetence.ipynb",
        "/voila/api/contents/",
        "/voila/tree",
        "/page/../conftest",
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/cdpkit.css%00",
        "/page/appetence.ipynb",
        "/lab",
    ):
        assert visitor.ask(path)[0] in (400, 403, 404)


def test_failed_page_is_an_error_without_its_secret(visitor: Client, served: Any) -> None:
    """A notebook that raises answers 500 with a polite sentence; its message reaches neither page nor log."""
    status, _, content = visitor.ask("/page/broken")
    assert status == 500 and "n’a pas pu être calculée" in content.decode()
    assert b"jean.dupont" not in content and "jean.dupont" not in served.log.read_text()


@pytest.mark.parametrize("narrow", [600], indirect=True)
def test_kernel_cap_answers_503(narrow: Any) -> None:
    """Pages with callbacks hold kernels: over the cap visitors wait; what rendered for all goes back."""
    visitor = Client(narrow.url)
    visitor.ask(f"/?token={TOKEN}")
    assert visitor.ask("/page/live")[0] == 200
    status, headers, content = visitor.ask("/page/live")
    assert status == 503 and headers["retry-after"] and "Réessayez" in content.decode()
    assert visitor.ask("/page/appetence")[0] == 200  # a page for all has its own place
    deadline = time.monotonic() + 60
    while kernels(narrow.pid) > 1 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert kernels(narrow.pid) == 1, "the visitor's alone"


@pytest.mark.parametrize("narrow", [2], indirect=True)
def test_kernels_come_back(narrow: Any) -> None:
    """The one kernel of a visitor who left is given to the next."""
    visitor = Client(narrow.url)
    visitor.ask(f"/?token={TOKEN}")
    assert visitor.ask("/page/live")[0] == 200
    deadline = time.monotonic() + 180
    while (status := visitor.ask("/page/live")[0]) == 503 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert status == 200


def test_new_publication_is_shown(
    visitor: Client, served: Any, publish: Callable[..., None], make_payload: Callable[..., Any]
) -> None:
    """The page rendered before a publication is not served after it."""
    publish(served.home, {"appetence": make_payload(version="77")}, "s000002")
    try:
        assert b"appetence v77" in visitor.ask("/page/appetence")[2]
    finally:
        (served.home / "data/lake/CURRENT").write_text("s000001\n")
    assert b"appetence v3" in visitor.ask("/page/appetence")[2]


def _request(visitor: Client, **changes: Any) -> tuple[int, Any]:
    visitor.ask("/page/appetence")
    body = {"export": "r000001-hot_email", "purpose": "activation", "author": "Inès", **changes}
    status, _, content = visitor.ask("/export", "POST", body, X_XSRFToken=visitor.cookies["_xsrf"])
    return status, json.loads(content) if content.startswith(b"{") else content


def test_export_leaves_once_with_a_trace(visitor: Client, served: Any, file_content: bytes) -> None:
    """The link gives the file once, then 410 for ever; the inbox says who, why, what, how many."""
    workspace = Workspace.open(str(served.home))
    before = len(decisions.pending(workspace))
    status, answer = _request(visitor)
    assert status == 200 and len(decisions.pending(workspace)) == before
    status, headers, content = visitor.ask(answer["url"])
    assert (status, content) == (200, file_content)
    assert headers["content-disposition"] == 'attachment; filename="hot_email_2026-06-30.csv"'
    kept = decisions.pending(workspace)[-1]
    assert (kept.kind, kept.subject, kept.author, kept.reason) == (
        "download",
        "hot_email",
        "Inès",
        "activation",
    )
    assert kept.content["people"] == 287 and kept.content["sha256"]
    assert [visitor.ask(answer["url"])[0] for _ in range(2)] == [410, 410]
    assert len(decisions.pending(workspace)) == before + 1


def test_the_manifest_leaves_beside_the_file(visitor: Client) -> None:
    """Counts, rule and hash, of the same export, once; nobody's data."""
    _, answer = _request(visitor)
    status, headers, content = visitor.ask(answer["manifest"]["url"])
    assert status == 200 and headers["content-type"].startswith("application/json")
    told = json.loads(content)
    assert told["audience"] == "hot_email" and told["waterfall"][-1]["n_left"] == 287 and told["sha256"]
    assert visitor.ask(answer["manifest"]["url"])[0] == 410


def test_an_audience_is_asked_for_by_its_name_only(visitor: Client, stranger: Client, served: Any) -> None:
    """A rule sent along is not read, an unknown offer is refused, and what waits is told without its author."""
    body = {
        "offer": "warm_prospects",
        "channel": "sms",
        "author": "Inès",
        "reason": "spring",
        "where": "1 = 1",
    }
    assert stranger.ask("/decide/audience", "POST", body)[0] == 403
    assert stranger.ask("/pending")[0] == 403
    visitor.ask("/page/appetence")
    key = {"X_XSRFToken": visitor.cookies["_xsrf"]}
    for wrong in ({"offer": "everybody"}, {"channel": "pigeon"}, {"reason": ""}):
        assert visitor.ask("/decide/audience", "POST", body | wrong, **key)[0] == 400
    assert visitor.ask("/decide/audience", "POST", [], **key)[0] == 400
    assert visitor.ask("/decide/complements", "POST", body | {"product": "P1", "others": []}, **key)[0] == 400
    assert visitor.ask("/decide/audience", "POST", body)[0] == 403, "without the page's cookie"
    assert visitor.ask("/decide/audience", "POST", body, **key)[0] == 200
    kept = [one for one in decisions.pending(Workspace.open(str(served.home))) if one.kind == "audience"]
    assert [(one.subject, one.content["where"], one.author) for one in kept] == [
        ("warm_prospects_sms", "tier = 'warm'", "Inès")
    ]
    status, _, content = visitor.ask("/pending")
    assert status == 200 and json.loads(content)["pending"] == [
        {"kind": "audience", "subject": "warm_prospects_sms"}
    ]


def test_export_needs_the_pages_own_cookie(visitor: Client) -> None:
    """Without the token that the page reads from its cookie, a forged form gets nothing."""
    visitor.ask("/page/appetence")
    body = {"export": "r000001-hot_email", "purpose": "activation", "author": "x"}
    assert visitor.ask("/export", "POST", body)[0] == 403
    assert visitor.ask("/export", "POST", body, X_XSRFToken="2|forged|0|0")[0] == 403


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"purpose": "resale"}, 403),
        ({"export": "../../../etc"}, 409),
        ({"export": "unknown"}, 409),
        ({"author": "  "}, 409),
        ({"author": "x" * 81}, 409),
        ({"purpose": 3}, 400),
    ],
)
def test_export_requests_are_checked(visitor: Client, changes: dict[str, Any], status: int) -> None:
    """Another purpose, a path for a name, nobody asking: refused before any link."""
    assert _request(visitor, **changes)[0] == status


def test_other_methods_do_not_spend_the_link(visitor: Client) -> None:
    """A HEAD by a preview robot does not use the link up."""
    url = _request(visitor)[1]["url"]
    assert visitor.ask(url, "HEAD")[0] in (403, 404, 405)
    assert visitor.ask(url)[0] == 200


def test_link_expires() -> None:
    """An unused link dies; another still works."""
    now = [0.0]
    held = links.Links(life_s=10, clock=lambda: now[0])
    delivery = links.Delivery(Path("x"), "x", {})
    first = held.issue(delivery)
    now[0] = 9.0
    second = held.issue(delivery)
    now[0] = 11.0
    assert held.take(first) is None and held.take(second) is delivery and held.take(second) is None


def test_changed_file_does_not_leave(published_home: Path, tmp_path: Path) -> None:
    """A file that is not what its manifest describes is refused, and so is one whose trace cannot be kept."""
    import shutil

    home = tmp_path / "home"
    shutil.copytree(published_home, home)
    workspace = Workspace.open(str(home))

    def lost(*_: object) -> None:
        raise OSError("disk full")

    office = links.Office(workspace, lost)
    ticket, _ = office.ask("r000001-hot_email", "activation", "Inès")
    with pytest.raises(OSError):
        office.deliver(ticket)
    assert office.deliver(ticket) is None
    (home / "data/exports/r000001-hot_email/audience.csv").write_text("email_sha256\nother\n")
    with pytest.raises(IntegrityError):
        office.ask("r000001-hot_email", "activation", "Inès")
    with pytest.raises(ConsentError):
        links.prepare(workspace, "r000001-hot_email", "resale", "Inès")


def test_only_what_a_published_page_offers_may_leave(published_home: Path, tmp_path: Path) -> None:
    """An export left by a run that was not published, or changed since, is not handed out."""
    import shutil

    home = tmp_path / "home"
    shutil.copytree(published_home, home)
    exports, workspace = home / "data/exports", Workspace.open(str(home))
    shutil.copytree(exports / "r000001-hot_email", exports / "r000002-hot_email")
    with pytest.raises(CdpkitError, match="published page"):
        links.prepare(workspace, "r000002-hot_email", "activation", "Inès")
    manifest = json.loads((exports / "r000001-hot_email/manifest.json").read_text())
    (exports / "r000001-hot_email/manifest.json").write_text(json.dumps(manifest | {"sha256": "0" * 64}))
    with pytest.raises(IntegrityError, match="the page offers"):
        links.prepare(workspace, "r000001-hot_email", "activation", "Inès")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"host": "0.0.0.0"}, "loopback"),
        ({"token": "short"}, "token"),
        ({"dashboards": "nowhere"}, "notebook"),
    ],
)
def test_unsafe_starts_are_refused(tmp_path: Path, arguments: dict[str, str], words: str) -> None:
    """An open address, a short token, an empty folder: the server does not start."""
    from cdpkit.ui.server import main

    with pytest.raises(CdpkitError, match=words):
        main(str(tmp_path), port=0, **arguments)
