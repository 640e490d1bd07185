"""The public internet for a program under test: a proxy on loopback whose sites are ours, with certificates of an authority of our own.

The program is told of it as any program is, by `HTTPS_PROXY` and `SSL_CERT_FILE`, so its real clients run, TLS included, and nothing of
ours is replaced. A host that is not among the sites cannot be reached. Knows no service.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import trustme

Site = Callable[[str], tuple[int, bytes]]  # a path with its query -> status and body


class PublicWeb:
    """A context manager; `asked` is what was asked for, as (host, path), in order."""

    def __init__(self, sites: Mapping[str, Site], folder: Path) -> None:
        self.sites = dict(sites)
        self.asked: list[tuple[str, str]] = []
        self._authority = trustme.CA()
        self._root = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self._root)
        self._http = _Http(("127.0.0.1", 0), _Proxy)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def environment(self) -> dict[str, str]:
        """What the program's environment says of it."""
        proxy = f"http://127.0.0.1:{self._http.server_address[1]}"
        return {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "SSL_CERT_FILE": str(self._root), "REQUESTS_CA_BUNDLE": str(self._root)}

    @cache  # noqa: B019 (one of these lives as long as its tests)
    def certificate(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(host).configure_cert(context)
        return context

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: PublicWeb

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away: a stopped tool."""


class _Proxy(BaseHTTPRequestHandler):
    server: _Http

    def do_CONNECT(self) -> None:
        host = self.path.rpartition(":")[0]
        if host not in self.server.owner.sites:
            return self.send_error(502, "There is no such host")
        self.send_response(200, "Connection established")
        self.end_headers()
        with self.server.owner.certificate(host).wrap_socket(self.connection, server_side=True) as tls:
            _Page(tls, self.client_address, self.server)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Page(BaseHTTPRequestHandler):
    server: _Http

    def do_GET(self) -> None:
        host = self.headers["Host"]
        self.server.owner.asked.append((host, self.path))
        status, body = self.server.owner.sites[host](self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
