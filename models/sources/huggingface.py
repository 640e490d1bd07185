"""The Hugging Face Hub, or the mirror in HF_ENDPOINT: its library gives addresses, headers and token, and finds its cache.

Requests are ours, not the library's: those can be neither cancelled nor hung up (docs/decisions/0005-downloads.md).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import httpx
import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, but not in its __all__

from models.downloads.request import Limits, opened
from models.downloads.transfer import Remote
from models.sources.answers import expect_ok, json_of
from models.sources.listing import Found, Wanted
from shared.engine import Cancel, Source
from shared.errors import BadRequest, ModelUnavailable

_SHA256, _COMMIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


def in_hub_cache(source: Source) -> Path | None:
    """Where the Hub's own cache holds all files of `source`; the folder when there are several, or where it names none and the
    folder has config.json and every file of weights."""
    if source.kind != "hf":
        return None
    names = source.files or ("config.json",)
    try:
        found = [huggingface_hub.try_to_load_from_cache(source.ref, name, revision=source.revision or None) for name in names]
    except huggingface_hub.errors.HFValidationError as error:
        raise BadRequest(str(error), "Correct the catalog.") from error
    paths = [Path(path) for path in found if isinstance(path, str)]
    if len(paths) < len(names):
        return None
    if not source.files:
        return paths[0].parent if _has_weights(paths[0].parent) else None
    return paths[0] if len(paths) == 1 else Path(os.path.commonpath([path.parent for path in paths]))


def _has_weights(folder: Path) -> bool:
    if (folder / "model.safetensors").is_file():
        return True
    try:
        shards = set(json.loads((folder / "model.safetensors.index.json").read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return bool(shards) and all(isinstance(name, str) and (folder / name).is_file() for name in shards)


def named(source: Source, cancel: Cancel, limits: Limits, endpoint: str | None) -> Found:
    """The files that `source` names."""
    endpoint, headers = _endpoint(endpoint), _headers()
    sha256 = source.sha256 if len(source.files) == 1 else ""
    wanted = [
        Wanted((name,), _ask(_url(source, name, source.revision, endpoint), headers, sha256, cancel, limits)) for name in source.files
    ]
    return Found(wanted, httpx.URL(endpoint).host, source.revision)


def listing(source: Source, cancel: Cancel, limits: Limits, endpoint: str | None) -> Found:
    """All files of the repository, as they are at one commit: what is pushed meanwhile does not mix with them."""
    endpoint, headers = _endpoint(endpoint), _headers()
    url = f"{endpoint}/api/models/{source.ref}/revision/{quote(source.revision or 'main', safe='')}?blobs=true"
    with opened(url, headers, cancel, limits) as response:
        expect_ok(response)
        answer = json_of(response)
    try:
        commit = str(answer.get("sha", ""))
        entries = [(str(entry["rfilename"]), entry) for entry in answer["siblings"]]
        entries = [(name, entry) for name, entry in entries if name.isprintable()]  # others have no address, or no place on a disk
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelUnavailable("the Hub's list of files cannot be read") from error
    revision = commit if _COMMIT.fullmatch(commit) else source.revision
    wanted = []
    for name, entry in entries:
        remote = _listed(_url(source, name, revision, endpoint), headers, entry)
        wanted.append(Wanted((name,), remote or _ask(_url(source, name, revision, endpoint), headers, "", cancel, limits)))
    return Found(wanted, httpx.URL(endpoint).host, revision)


def _endpoint(endpoint: str | None) -> str:
    return (endpoint or constants.ENDPOINT).rstrip("/")


def _headers() -> dict[str, str]:
    headers: dict[str, str] = build_hf_headers(library_name="puyu-studio")
    return headers


def _url(source: Source, name: str, revision: str, endpoint: str) -> str:
    try:
        return huggingface_hub.hf_hub_url(source.ref, name, revision=revision or None, endpoint=endpoint)
    except huggingface_hub.errors.HFValidationError as error:
        raise BadRequest(str(error), "Correct the name of the repository.") from error


def _listed(url: str, headers: Mapping[str, str], entry: Mapping[str, Any]) -> Remote | None:
    """None where the list (of a mirror, perhaps) does not tell the size; the checksum is there for files in LFS."""
    size, stored = entry.get("size"), entry.get("lfs")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 60:
        return None
    sha256 = stored.get("sha256") if isinstance(stored, dict) else ""
    return Remote(url, headers, size, sha256 if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else "")


def _ask(url: str, headers: Mapping[str, str], sha256: str, cancel: Cancel, limits: Limits) -> Remote:
    """Size and checksum are in the headers of the Hub's own answer, before it sends us to its storage; the ETag of a large
    file is its SHA-256."""
    asked = url
    for _ in range(5):
        with opened(asked, headers, cancel, limits, method="HEAD", follow=False) as response:
            target = urljoin(asked, response.headers.get("Location", ""))
            if response.is_redirect and _origin(target) == _origin(asked):  # what goes elsewhere does not take the token along
                asked = target  # a renamed repository
                continue
            if not response.is_redirect:
                expect_ok(response)
            return _as_remote(url, headers, response, sha256)
    raise ModelUnavailable("the Hub sends us in circles")


def _origin(url: str) -> tuple[str, bytes]:
    parsed = httpx.URL(url)
    return parsed.scheme, parsed.netloc


def _as_remote(url: str, headers: Mapping[str, str], response: httpx.Response, sha256: str) -> Remote:
    size = response.headers.get("X-Linked-Size") or ("" if response.is_redirect else response.headers.get("Content-Length", ""))
    tag = (response.headers.get("X-Linked-ETag") or response.headers.get("ETag", "")).strip('"')
    known = sha256 or (tag if _SHA256.fullmatch(tag) else "")
    return Remote(url, headers, int(size) if size.isdecimal() else None, known)
