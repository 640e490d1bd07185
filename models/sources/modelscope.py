"""ModelScope: its own client library lists a repository and knows the addresses, the endpoint and the login; bytes are ours.

The library (`modelscope-hub`) is optional. MODELSCOPE_ENDPOINT and MODELSCOPE_API_TOKEN are read by it. Its requests cannot be
cancelled, so they run in a thread that is left behind (docs/decisions/0005-downloads.md).
"""

from __future__ import annotations

import importlib
import os
import re
from types import ModuleType
from typing import Any

import httpx

from models.downloads.request import Interrupted, Limits, interruptible
from models.downloads.transfer import Remote
from models.sources.listing import Found, Wanted
from shared.engine import Cancel, Source
from shared.errors import ModelUnavailable

INSTALL = "pip install -r requirements-modelscope.txt"
# Its own settings, where the user has not chosen: we try again ourselves, in a way that Stop can end, and say what failed.
_SETTINGS = {"MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS": "1", "MODELSCOPE_API_CONNECT_TIMEOUT": "5", "MODELSCOPE_LOG_LEVEL": "CRITICAL"}
_SHA256 = re.compile(r"[0-9a-f]{64}")


def listing(source: Source, cancel: Cancel, limits: Limits) -> Found:
    """All files of the repository. Its own library takes the branch `master` where no revision is named."""
    library = client()
    try:
        found: Found = interruptible(lambda: _ask(library, source), cancel, limits.connect + limits.read, lambda late: None)
    except TimeoutError as error:
        raise ModelUnavailable("no answer from ModelScope in time") from error
    except (library.HubError, ValueError, TypeError, AttributeError, LookupError, EOFError, OSError) as error:
        raise _failure(library, error) from error
    if not found.wanted:  # what it also says of a repository or a revision that is not there
        raise ModelUnavailable("there is no such repository or revision, or it is private and needs MODELSCOPE_API_TOKEN")
    return found


def client() -> ModuleType:
    """ModelScope's library. Raises `ModelUnavailable` where it is not installed."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("modelscope_hub")
    except ModuleNotFoundError as error:
        raise ModelUnavailable(f"its client is not installed ({INSTALL})") from error


def _ask(library: ModuleType, source: Source) -> Found:
    config = library.HubConfig()
    api = library.HubApi(config)
    headers = {"User-Agent": "puyu-studio"}
    if config.token:  # older addresses want the cookie, newer ones the header; httpx sends neither on to another host
        headers |= {"Authorization": f"Bearer {config.token}", "Cookie": f"m_session_id={config.token}"}
    revision = source.revision or "master"
    wanted = []
    for file in api.list_repo_files(source.ref, "model", revision=revision):
        if file.path and not file.is_dir:
            url = api.legacy.get_download_url(source.ref, "model", file.path, revision)
            wanted.append(Wanted((file.path,), Remote(url, headers, file.size or None, _checksum(file.sha256))))
    return Found(wanted, httpx.URL(config.endpoint).host, source.revision)


def _checksum(value: Any) -> str:
    return value.lower() if isinstance(value, str) and _SHA256.fullmatch(value.lower()) else ""


def _failure(library: ModuleType, error: Exception) -> Interrupted | ModelUnavailable:
    match error:
        case library.NotExistError():
            return ModelUnavailable("there is no such repository or revision, or it is private and needs MODELSCOPE_API_TOKEN")
        case library.AuthenticationError() | library.PermissionDeniedError():
            return ModelUnavailable("ModelScope asks for a login: set MODELSCOPE_API_TOKEN")
        case library.RateLimitError() | library.ServerError() | library.NetworkError() | library.RequestTimeoutError():
            return Interrupted(f"ModelScope: {_first_line(error)}")
        case library.HubError():
            return ModelUnavailable(f"ModelScope: {_first_line(error)}")
    return ModelUnavailable(f"ModelScope's answer cannot be read ({_first_line(error)})")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:200] or type(error).__name__
