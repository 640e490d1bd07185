"""OpenXLab, by the one request its own client makes before it downloads.

That client (openxlab 0.1.3) pins old versions of half of our packages, so it cannot be installed beside them. The request was
read in its published source and is described nowhere else; it was tried against that client, not against the service. It
tells neither sizes nor a checksum we could check. Without a login: public repositories only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from models.downloads.request import Limits, opened
from models.downloads.transfer import Remote
from models.sources.answers import expect_ok, json_of
from models.sources.listing import Found, Wanted
from shared.engine import Cancel, Source
from shared.errors import BadRequest, ModelUnavailable

ENDPOINT = "https://openapi.openxlab.org.cn/api/v1"
PATH = "/model-center/api/v1/cli/repository/getFileDownloadUrl"
_FINE = "10000"  # its code for success, in the answer and in the answer within


def listing(source: Source, cancel: Cancel, limits: Limits) -> Found:
    """All files of the repository, or those `source` names. It has no revisions."""
    owner, _, name = source.ref.partition("/")
    if not name:
        raise BadRequest(f"{source.ref!r} is no repository of OpenXLab.", "Write it as owner/name.")
    endpoint = (os.environ.get("OPENXLAB_ENDPOINT") or ENDPOINT).rstrip("/")
    asked = {
        "userName": owner, "repositoryName": name, "modelNames": None, "filePaths": list(source.files) or None,
        "clientFrom": "0", "ignore": None,
    }  # fmt: skip
    with opened(endpoint + PATH, {"Accept": "application/json"}, cancel, limits, method="POST", json=asked) as response:
        expect_ok(response)
        data = _data(_data(json_of(response)))
    return Found(list(_files(data)), httpx.URL(endpoint).host)


def _data(answer: Any) -> Any:
    if not isinstance(answer, Mapping) or answer.get("msgCode") != _FINE:
        said = str(answer.get("msg") or answer.get("msgCode") or "") if isinstance(answer, Mapping) else ""
        raise ModelUnavailable(f"OpenXLab says: {said[:200] or 'nothing that can be read'}")
    return answer.get("data")


def _files(data: Any) -> Iterator[Wanted]:
    seen: set[str] = set()
    try:
        for group in ("modelNames", "filePaths"):
            for entry in (data.get(group) or {}).values():
                name, url = str(entry["fileName"]), httpx.URL(entry["url"])
                if url.scheme not in ("http", "https"):
                    raise ModelUnavailable(f"OpenXLab gives no web address for {name}")
                if name not in seen:
                    seen.add(name)
                    yield Wanted((name,), Remote(str(url)))
    except (AttributeError, KeyError, TypeError, httpx.InvalidURL) as error:
        raise ModelUnavailable("OpenXLab's list of files cannot be read") from error
