"""The web as tools see it: `demos.web` with the bound of 2 MB an answer that suits a text for a model."""

from __future__ import annotations

from demos.web import MOST_BYTES, MOST_REDIRECTS, NameNotFound, Page, Web, WebFailure, is_public, proxy_for

__all__ = ["MOST_BYTES", "MOST_REDIRECTS", "NameNotFound", "Page", "Web", "WebFailure", "is_public", "proxy_for"]
