"""One command, one loopback port: Voila behind a gate, with a landing page and one-time exports."""

# ruff: noqa: E402

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.metadata import version as release
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Voila reaches a grammar of international addresses that no page checks: it takes a third of the start.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

from jupyter_server._tz import utcnow
from jupyter_server.auth.identity import IdentityProvider, User
from tornado import httpserver, ioloop, netutil, web
from traitlets.config import Config
from voila.app import Voila
from voila.configuration import VoilaConfiguration
from voila.paths import collect_static_paths

from cdpkit import decisions
from cdpkit.errors import CdpkitError
from cdpkit.ui import handlers, page
from cdpkit.ui.gate import Gate, GatedApplication
from cdpkit.ui.kernels import FAILED, Shelf
from cdpkit.ui.links import Office
from cdpkit.ui.messages import text
from cdpkit.ui.navigation import entries
from cdpkit.ui.published import snapshot
from cdpkit.workspace import Workspace

_HERE = Path(__file__).parent


#: Lines that say nothing is wrong: notebooks of a checkout are unsigned, idle kernels go back.
_USUAL = ("is not trusted", "Culling 'idle'")

_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Visitor(IdentityProvider):
    """Everyone who passed the gate is the same visitor; there is no login page."""

    def get_user(self, handler: web.RequestHandler) -> User:
        """Return the visitor."""
        return User("visitor")

    @property
    def auth_enabled(self) -> bool:
        """Say that the server is closed: the gate holds the key."""
        return True

    @property
    def login_available(self) -> bool:
        """Say that there is nowhere to log in."""
        return False

    logout_available = login_available


class Dashboards(Voila):
    """Voila with our look and routes, every request behind the gate."""

    gate: Gate
    workspace: Workspace
    say: Callable[[str], object]
    token_shown: str
    shelf: Shelf
    asked_port: int
    clock: Callable[[], datetime]

    def initialize(self, argv: Sequence[str] | None = None) -> None:
        """Prepare, reading no configuration file: nothing on disk may open what is closed here."""
        self.log.addFilter(lambda line: not any(usual in line.getMessage() for usual in _USUAL))
        self.voila_configuration = VoilaConfiguration(parent=self)
        self.setup_template_dirs()

    def setup_template_dirs(self) -> None:
        """Use the package's own template, and Voila's static files for widgets."""
        self.template_paths = [str(_HERE / "templates" / "cdpkit")]
        self.static_paths = collect_static_paths(["voila"], "base")

    def init_handlers(self) -> list[Any]:
        """Return our routes and, of Voila's, only those a page with widgets needs."""
        kept = (
            "/api/kernels/",
            "/voila/static/",
            "/voila/api/shutdown/",
            "/voila/labextensions/",
            "/voila/query/",
        )
        self.notebook_path = None
        routes = [route for route in super().init_handlers() if any(name in route[0] for name in kept)]
        folder, office = (
            Path(self.root_dir),
            Office(self.workspace, lambda workspace, trace: record(workspace, trace, self.clock())),
        )
        dashboard = {
            "shelf": self.shelf,
            "folder": folder,
            "template_paths": self.template_paths,
            "config": self.config,
            "voila_configuration": self.voila_configuration,
        }
        return [
            (
                r"/",
                handlers.Home,
                {"folder": folder, "workspace": self.workspace, "version": versions()[0]},
            ),
            (r"/page/([a-z0-9_]+)", handlers.Dashboard, dashboard),
            (r"/export", handlers.Export, {"office": office}),
            (r"/export/([A-Za-z0-9_-]+)", handlers.Delivered, {"office": office}),
            (r"/maturity/answers", handlers.Answers, {"workspace": self.workspace, "clock": self.clock}),
            (
                r"/decide/(audience|complements)",
                handlers.Asked,
                {"workspace": self.workspace, "clock": self.clock},
            ),
            (r"/pending", handlers.Pending, {"workspace": self.workspace}),
            (r"/static/(plotly\.min\.js)", web.StaticFileHandler, {"path": str(plotly_folder())}),
            (r"/static/(cdpkit\.(?:js|css))", web.StaticFileHandler, {"path": str(_HERE / "static")}),
            *routes,
            (r".*", handlers.Nothing),
        ]

    def start(self) -> None:
        """Serve until stopped by a signal."""
        sockets = _bind(self.asked_port, self.ip)
        self.port = sockets[0].getsockname()[1]
        self.connection_dir = tempfile.mkdtemp(prefix="cdpkit-", dir=tempfile.gettempdir())
        self.ioloop = ioloop.IOLoop.current()
        settings = self.init_settings() | {
            "headers": _HEADERS,
            "log_function": lambda handler: None,  # addresses hold tokens and tickets
            "xsrf_cookies": True,
            "xsrf_cookie_kwargs": {"samesite": "Lax"},
        }
        self.app = GatedApplication(self.gate, **settings)
        self.shelf = Shelf(self, lambda: snapshot(self.workspace))
        self.app.add_handlers(".*$", self.init_handlers())
        server = httpserver.HTTPServer(self.app, max_body_size=1_000_000)
        server.add_sockets(sockets)
        asyncio.get_event_loop().add_signal_handler(signal.SIGTERM, self.ioloop.stop)
        self.ioloop.add_callback(self._keep_warm)
        self.say(f"http://{self.ip}:{self.port}/?token={self.token_shown}")
        try:
            self.ioloop.start()
        except KeyboardInterrupt:
            pass
        finally:
            server.stop()
            self.ioloop.run_sync(self.kernel_manager.shutdown_all)
            shutil.rmtree(self.connection_dir, ignore_errors=True)

    async def _keep_warm(self) -> None:
        """Render pages ahead of their visitors, at start and after each publication."""
        while True:
            names = [entry.name for entry in entries(Path(self.root_dir)) if not entry.callbacks]
            await self.shelf.warm(names)
            await asyncio.sleep(5)


def main(
    workspace: Workspace | str | None = None,
    port: int = 8866,
    token: str | None = None,
    host: str = "127.0.0.1",
    *,
    dashboards: str | Path | None = None,
    max_kernels: int = 12,
    pool_size: int = 1,
    cull_after_s: int = 120,
    hosts: tuple[str, ...] = (),
    say: Callable[[str], object] | None = None,
    clock: Callable[[], datetime] = utcnow,
) -> None:
    """Serve the dashboards of a workspace until stopped.

    Parameters
    ----------
    workspace : Workspace or str, optional
        What to show; found as `Workspace.open` finds it.
    port : int, default 8866
        The one port; 0 takes a free one.
    token : str, optional
        Secret of the start link; a random one when absent. At least 16 characters.
    host : str
        A loopback address. To reach the server from elsewhere put a proxy or a tunnel before it and
        name it in `hosts`.
    dashboards : path, optional
        Folder of dashboard notebooks; ``dashboards/`` of the workspace or of the checkout when absent.
    max_kernels : int, default 12
        Most kernels alive at once; further pages with callbacks answer 503.
    pool_size : int, default 1
        Warm kernels a page with callbacks keeps ready.
    cull_after_s : int, default 120
        Seconds after which a kernel nobody is connected to is shut down.
    hosts : tuple of str
        Further host names to answer to.
    say : callable, optional
        Given the start link once the server listens; written to the standard output when absent.
    clock : callable
        Gives the moment written with an export's trace; the server's own clock by default.

    Raises
    ------
    CdpkitError
        If the address is not a loopback one, the token is short, the folder holds no dashboard or the
        port is taken.
    """
    opened = workspace if isinstance(workspace, Workspace) else Workspace.open(workspace)
    if host not in ("127.0.0.1", "localhost", "::1"):
        raise CdpkitError("the dashboards must listen on a loopback address", host, "Put a proxy before them")
    token = secrets.token_urlsafe(32) if token is None else token
    if len(token) < 16:
        raise CdpkitError("a token must have at least 16 characters", str(len(token)))
    folder = _folder(opened, dashboards)
    os.environ["CDPKIT_HOME"] = str(opened.home)  # kernels are children: they open the same workspace
    app = Dashboards(config=_configuration(folder, max_kernels, pool_size, cull_after_s))
    app.gate, app.workspace, app.token_shown = Gate(token, tuple(hosts)), opened, token
    app.clock = clock
    app.say = say or (lambda link: (sys.stdout.write(f"{link}\n"), sys.stdout.flush()))
    app.asked_port, app.ip, app.root_dir = port, host, str(folder)
    app.initialize()
    app.start()


def record(workspace: Workspace, trace: dict[str, Any], moment: datetime) -> None:
    """Keep the trace of an export as a decision in the workspace's inbox."""
    content = {key: value for key, value in trace.items() if key != "author"}
    decisions.record(
        workspace,
        kind="download",
        subject=trace["audience"],
        content=content,
        author=trace["author"],
        reason=trace["purpose"],
        decided_at=moment,
    )


def plotly_folder() -> Path:
    """Return where plotly's wheel keeps the script of the charts, found without importing plotly."""
    return Path(find_spec("plotly").origin).parent / "package_data"  # type: ignore[union-attr,arg-type]


def versions() -> tuple[str, str]:
    """Return what changes when our own static files change, and when plotly does."""
    own = b"".join(path.read_bytes() for path in sorted((_HERE / "static").iterdir()))
    return hashlib.sha256(own).hexdigest()[:12], release("plotly")


def _configuration(folder: Path, most: int, pool_size: int, cull_after_s: int) -> Config:
    """Return the settings of Voila and of its kernels."""
    live = [entry.name for entry in entries(folder) if entry.callbacks]
    pools: dict[str, Any] = {"default": {"pool_size": 0, "kernel_env_variables": {}}}
    pools |= {f"{name}.ipynb": {"pool_size": pool_size, "kernel_env_variables": {}} for name in live}
    failure = page.notice(text("refused.error.title"), text("refused.error.body"), kind="failed")
    own = {
        "head": page.head(versions()[0]),
        "scripts": page.scripts(*versions()),
        "failure": f'<main id="main" {FAILED}>{failure}</main>',
    }
    voila = {
        "template": "cdpkit",
        "allow_template_override": "NO",
        "allow_theme_override": "NO",
        "file_allowlist": [],
        "resources": {"cdpkit": own},
        "multi_kernel_manager_class": "cdpkit.ui.kernels.CappedKernels",
        "preheat_kernel": True,
        "show_tracebacks": False,
        "extension_denylist": ["@jupyterlab/scheduler", "jupyterlab-jupytext"],
    }
    culling = {"cull_idle_timeout": cull_after_s, "cull_interval": max(1, min(30, cull_after_s // 2))}
    return Config(
        {
            "VoilaConfiguration": voila,
            "CappedKernels": {"most": most, **culling},
            "VoilaKernelManager": {"kernel_pools_config": pools},
            "KernelManager": {"transport": "ipc"},
            "Voila": {"identity_provider_class": Visitor, "log_level": "WARN"},
        }
    )


def _folder(workspace: Workspace, given: str | Path | None) -> Path:
    places = [Path(given)] if given else [workspace.home / "dashboards", _HERE.parents[1] / "dashboards"]
    for place in places:
        if any(place.glob("*.ipynb")):
            return place.resolve()
    raise CdpkitError(
        "a folder of dashboards must hold a notebook", str(places[0]), "Name one with `dashboards`"
    )


def _bind(port: int, host: str) -> list[Any]:
    try:
        return netutil.bind_sockets(port, host)
    except OSError as fault:
        raise CdpkitError(f"port {port} must be free", fault.strerror, "Choose another with `port`") from None
