"""Kernels under a cap, and pages rendered once per publication."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from jupyter_server._tz import utcnow
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from nbformat.v4 import new_code_cell
from tornado import web
from traitlets import Int
from voila.notebook_renderer import NotebookRenderer
from voila.utils import get_page_config

#: What the template writes where a cell failed: Voila answers 200 all the same.
FAILED = "data-failed"

#: A kernel that starts is left alone as long.
STARTING = timedelta(minutes=1)


class CappedKernels(AsyncMappingKernelManager):
    """A kernel manager that answers 503 rather than let the machine swap."""

    most = Int(12, help="Most kernels alive at once, warm ones included.").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._starting, self._visitors = 0, set[str]()
        self._for_all = set[str]()

    @property
    def room(self) -> int:
        """Kernels that visitors may still be given; one place is kept to render pages for all."""
        self._visitors = {kernel_id for kernel_id in self._visitors if kernel_id in self}
        return self.most - 1 - len(self._visitors) - self._starting

    async def start_kernel(self, *, for_all: bool = False, **kwargs: Any) -> str:  # type: ignore[override]
        """Start a kernel, or refuse a visitor where as many as may live do."""
        if for_all:
            kernel_id = await super().start_kernel(**kwargs)
            self._for_all = {kernel_id}
            return kernel_id
        if self.room <= 0:
            raise web.HTTPError(503, reason="All kernels are busy")
        self._starting += 1
        try:
            kernel_id = await super().start_kernel(**kwargs)
            self._visitors.add(kernel_id)
            return kernel_id
        finally:
            self._starting -= 1

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """Look at a kernel's idle time, unless it went back meanwhile, renders for all, or starts."""
        if kernel_id not in self or kernel_id in self._for_all:
            return
        kernel: Any = self.get_kernel(kernel_id)
        young = utcnow() - kernel.last_activity < STARTING
        # On a busy machine a kernel takes longer to start than a short limit of idleness.
        if kernel.execution_state != "starting" or not young:
            await super().cull_kernel_if_idle(kernel_id)


class Shelf:
    """Rendered pages of the current publication.

    A page without callbacks is the same for everyone: it is run once by Voila, and every visitor gets the
    same words until the next publication or edit of its notebook. Pages that wait are run one after another
    in one kernel, emptied between two: starting one costs more than running a page. It goes back when no
    page waits.

    Parameters
    ----------
    app : Voila
        The running application: configuration, kernel and contents managers.
    snapshot : callable
        Returns the name of the published snapshot.
    """

    def __init__(self, app: Any, snapshot: Callable[[], str | None]) -> None:
        self.app, self.snapshot = app, snapshot
        self._pages: dict[str, tuple[object, str]] = {}
        self._tried: dict[str, object] = {}
        self._turn = asyncio.Lock()
        self._kernel: str | None = None
        self._pooled: str | None = snapshot()

    def key(self, name: str) -> tuple[str | None, int]:
        """Return what a rendered page depends on."""
        return self.snapshot(), (Path(self.app.root_dir) / f"{name}.ipynb").stat().st_mtime_ns

    async def html(self, name: str) -> str:
        """Return a page, rendering it where the publication or the notebook has changed."""
        async with self._turn:  # one at a time: twenty visitors of a new page cost one kernel
            key = self.key(name)
            if self._pages.get(name, (None, ""))[0] != key:
                html = await self._render(name)
                if FAILED in html:  # the error's own text may hold a personal value: it stays in the notebook
                    self.app.log.error("page %s failed; run its notebook to see why", name)
                    return html
                self._pages[name] = (key, html)
            return self._pages[name][1]

    async def warm(self, names: list[str]) -> None:
        """Render the pages that changed, once each; a failure is logged and left to the visit.

        The kernel that rendered, for this or for visitors since, then goes back.
        """
        for name in names:
            try:
                key = self.key(name)
                if key not in (self._tried.get(name), self._pages.get(name, (None, ""))[0]):
                    self._tried[name] = key
                    await self.html(name)
            except Exception:
                self.app.log.exception("page %s could not be rendered ahead", name)
        async with self._turn:
            await self._give_back()

    async def renew_pools(self) -> None:
        """Drop warm kernels that were rendered on another publication; refill where there is room."""
        kernels, now = self.app.kernel_manager, self.snapshot()
        pools = getattr(kernels, "_pools", {})
        for name, pool in pools.items():
            pool[:] = [task for task in pool if not (task.done() and (task.cancelled() or task.exception()))]
            if now != self._pooled:
                stale, pool[:] = list(pool), []
                for task in stale:
                    await kernels.shutdown_kernel((await task)["kernel_id"])
            if not pool and kernels.room > 0:
                kernels.fill_if_needed(delay=0, notebook_name=name)
        self._pooled = now

    def hand_over(self, html: str) -> None:
        """Count a page's kernel as active now: one that waited in the pool looks idle since it was made."""
        kernels, found = self.app.kernel_manager, re.search(r"<!-- kernel ([\w-]+) -->", html)
        if found and found[1] in kernels:
            kernels.get_kernel(found[1]).last_activity = utcnow()

    async def _render(self, name: str) -> str:
        app, settings = self.app, self.app.app.settings
        configuration = app.voila_configuration
        config = get_page_config(
            base_url=app.base_url, settings=settings, log=app.log, voila_configuration=configuration
        )
        renderer = NotebookRenderer(
            voila_configuration=configuration,
            traitlet_config=app.config,
            notebook_path=f"{name}.ipynb",
            template_paths=app.template_paths,
            config_manager=app.config_manager,
            contents_manager=app.contents_manager,
            base_url=app.base_url,
            kernel_spec_manager=app.kernel_spec_manager,
            page_config=config,
            mathjax_config=None,
            mathjax_url=None,
        )
        await renderer.initialize()
        # Each notebook starts from an empty namespace, as if alone.
        renderer.notebook.cells.insert(0, new_code_cell("%reset -sf"))
        kernel_id = await self._at_hand(renderer.notebook.metadata.kernelspec.name)
        whole = False
        try:
            html = await renderer.generate_content_str(kernel_id, app.kernel_manager.get_kernel(kernel_id))
            whole = FAILED not in html
            return html
        finally:
            if not whole:  # whatever failed in it, the next page shall not meet it
                await self._give_back()

    async def _at_hand(self, kernel_name: str) -> str:
        """Return the kernel that renders, started where there is none."""
        kernels = self.app.kernel_manager
        if self._kernel is None or self._kernel not in kernels:
            self._kernel = await kernels.start_kernel(
                for_all=True, kernel_name=kernel_name, path="", env=dict(os.environ)
            )
        return self._kernel

    async def _give_back(self) -> None:
        """Shut the kernel that renders down, if there is one."""
        kernel_id, self._kernel = self._kernel, None
        if kernel_id is not None and kernel_id in self.app.kernel_manager:
            await self.app.kernel_manager.shutdown_kernel(kernel_id, now=True)
