"""The public services the tools ask, on loopback: `tests.servers.Server`, found by path whatever the query, and a `Web` that goes there."""

from __future__ import annotations

import json
from collections.abc import Mapping

from demos.web import Web
from tests.servers import Served, Server


class _ByPath(dict[str, Served]):
    def get(self, path: str, default: Served | None = None) -> Served | None:  # type: ignore[override]
        return super().get(path.partition("?")[0], default)


def stub(files: Mapping[str, Served]) -> Server:
    server = Server()
    server.files = _ByPath(files)
    return server


def said(value: object) -> Served:
    return Served(json.dumps(value).encode())


def through(server: Server, *origins: str) -> Web:
    """A web in which `origins` are this server; without any, the server itself may be asked."""
    return Web({origin: server.url for origin in origins or (server.url,)})
