"""The gate: what it says in a log when a request is odd."""

from __future__ import annotations

import logging
import time
from http.client import HTTPConnection
from threading import Thread

import pytest

from cdpkit.ui.gate import Gate, GatedApplication


def test_a_query_that_is_no_utf8_does_not_log_the_token(caplog: pytest.LogCaptureFixture) -> None:
    """The visitor is let in like any other: an error would have been logged with its address."""
    import asyncio

    from tornado.httpserver import HTTPServer
    from tornado.testing import bind_unused_port

    socket, port = bind_unused_port()
    started: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        HTTPServer(GatedApplication(Gate("a-secret-token"))).add_socket(socket)
        started.append(asyncio.get_running_loop())
        ended.append(asyncio.Event())
        await ended[0].wait()

    ended: list[asyncio.Event] = []
    thread = Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        while not ended:
            time.sleep(0.01)
        with caplog.at_level(logging.DEBUG):
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/appetence?lang=%ff&token=a-secret-token")
            answer = connection.getresponse()
            connection.close()
    finally:
        started[0].call_soon_threadsafe(ended[0].set)
        thread.join(10)
    assert answer.status == 302 and "token" not in (answer.getheader("Location") or "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
