"""Start a kernel from this very interpreter: no kernelspec to register, no waits, no chatter."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import IO, Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager


def manager_class(environ: Mapping[str, str], cwd: str, errors: IO[bytes], started: list[Any]) -> type:
    """Return a kernel manager for one notebook.

    Parameters
    ----------
    environ : mapping
        The kernel's whole environment.
    cwd : str
        Where it works.
    errors : file
        Takes what the kernel says outside its cells.
    started : list
        The manager is appended when the kernel has started, for a watchdog.
    """
    # Curve keys: what cells print crosses a local port, where other users of the machine could read it.
    spec = KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        display_name="cdpkit",
        language="python",
        metadata={"supported_encryption": "curve"},
    )

    class Manager(AsyncKernelManager):
        """A kernel of this interpreter."""

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
            options.update(env=dict(environ), cwd=cwd, stderr=errors, transport_encryption="auto")
            await super().start_kernel(**options)
            started.append(self)

    return Manager


#: Options of papermill's client. No shared history file: it locks, and costs half a second.
CLIENT_OPTIONS = {
    "extra_arguments": ["--HistoryManager.enabled=False", "--TerminalInteractiveShell.colors=NoColor"],
    "shutdown_kernel": "immediate",
    "start_timeout": 120,
    "autosave_cell_every": 0,
    "request_save_on_cell_execute": False,
    "progress_bar": False,
    "kernel_name": "python3",
    "language": "python",
}


def kill(started: list[Any]) -> None:
    """End a kernel and what it started, from another thread."""
    for manager in started:
        provisioner = manager.provisioner
        if provisioner is not None and provisioner.pgid:
            try:
                os.killpg(provisioner.pgid, signal.SIGKILL)
            except ProcessLookupError:
                continue
