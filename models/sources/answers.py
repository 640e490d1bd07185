"""The answers of hubs and indexes: a refusal as a few words, a body as text or JSON of a reasonable length."""

from __future__ import annotations

import json
from typing import Any

import httpx

from models.downloads.request import RETRY_STATUS, Interrupted, refusal
from shared.errors import ModelUnavailable

LIMIT = 20 << 20  # bytes of an index page or a file list


def expect_ok(response: httpx.Response) -> None:
    """Raises `Interrupted` for a busy server, `ModelUnavailable` for one that says no."""
    if response.status_code in RETRY_STATUS:
        raise Interrupted(f"{response.url.host} answers {response.status_code}")
    if not response.is_success:
        raise ModelUnavailable(refusal(response))


def body_of(response: httpx.Response) -> str:
    body = b""
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > LIMIT:
            raise ModelUnavailable(f"{response.url.host} sends an unreasonably long list of files")
    return body.decode("utf-8", "replace")


def json_of(response: httpx.Response) -> Any:
    """Raises `ModelUnavailable` for what is no JSON, such as the login page of a network."""
    try:
        return json.loads(body_of(response))
    except (ValueError, RecursionError) as error:
        raise ModelUnavailable(f"{response.url.host} answers with something that is no list of files") from error
