"""A folder as it is, or a hub repository as a folder: config, tokenizer and safetensors of one revision, no pickles.

Uses the hub's own client and cache. Knows nothing of what is in the files.
"""

from __future__ import annotations

import re
from pathlib import Path

from httpx2 import HTTPError  # what the hub's client speaks with, and lets through
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from models.remote_code import FULL_REVISION
from shared.errors import ModelUnavailable, RemoteFailure

_SMALL = ("*.json", "*.model", "*.jinja", "*.txt")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def fetch(folder_or_id: str | Path, *, revision: str, local_files_only: bool, code: bool, weights: bool = True) -> Path:
    """The folder; a hub id is downloaded into the cache first. `code` fetches Python files too, `weights` the safetensors.

    Raises `ModelUnavailable` for what exists nowhere, and `RemoteFailure` when the hub cannot be reached."""
    if isinstance(folder_or_id, Path) or Path(folder_or_id).is_dir() or not _HUB_ID.fullmatch(folder_or_id):
        return Path(folder_or_id)
    if code and not FULL_REVISION.fullmatch(revision):
        raise ModelUnavailable(f"The code of {folder_or_id} is asked for without a full revision.", "Give all 40 digits of it.")
    patterns = [*_SMALL, *(["*.safetensors"] if weights else []), *(["*.py"] if code else [])]
    at = f" at {revision}" if revision else ""
    try:
        folder = snapshot_download(
            folder_or_id, revision=revision or None, local_files_only=local_files_only, allow_patterns=patterns, ignore_patterns=["*/*"]
        )
    except GatedRepoError as error:
        raise ModelUnavailable(
            f"{folder_or_id}{at} is shown to those only who accepted its terms.", "Accept them on its page, and log in with a token."
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise ModelUnavailable(f"The hub has no model {folder_or_id}{at}.", "Check the name and the revision.") from error
    except LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, HfHubHTTPError):
            raise _unfetched(folder_or_id, at, error.__cause__) from error
        raise ModelUnavailable(f"{folder_or_id}{at} is not in the local cache.", "Download it, or allow the network.") from error
    except (HTTPError, OSError) as error:
        raise _unfetched(folder_or_id, at, error) from error
    return Path(folder)


def _unfetched(name: str | Path, at: str, error: Exception) -> RemoteFailure:
    return RemoteFailure(f"{name}{at} could not be fetched: {type(error).__name__}.", "Check the network and try again.", log=str(error))
