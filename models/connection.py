"""One HTTP connection that another thread can hang up: how Stop reaches a server that is still reading the prompt.

Closing a socket does not wake a thread blocked in reading it; shutting it down does. httpx tells which socket it uses
through its `trace` extension. Knows nothing of what is said over the line.
"""

from __future__ import annotations

import socket
from typing import Any

import httpx


class Line:
    """Give `hooks` to an `httpx.Client` used for one request; `hang_up` ends that request, whatever it waits for."""

    def __init__(self) -> None:
        self._stream: Any = None
        self.hung_up = False

    @property
    def hooks(self) -> dict[str, list[Any]]:
        return {"request": [self._on_request]}

    def hang_up(self) -> None:
        """The blocked reader gets an `httpx.TransportError` at once. Safe from any thread, at any time, more than once."""
        self.hung_up = True
        connection = self._stream.get_extra_info("socket") if self._stream is not None else None
        if connection is None:
            return
        try:
            socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not SSLSocket's own: it takes the TLS object away from a reader
        except OSError:
            pass  # it was closed already: nobody is blocked on it

    def _on_request(self, request: httpx.Request) -> None:
        request.extensions = {**request.extensions, "trace": self._on_trace}

    def _on_trace(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._stream = info["return_value"]
            if self.hung_up:  # asked to stop while the connection was being made
                self.hang_up()
