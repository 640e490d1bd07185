"""Where a model's files are: each kind of source as URLs, sizes and checksums, ready to be fetched.

One file per kind asks its hub or index; this one chooses among them and says failures alike. Fetches no model bytes, and does
not know where files land.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import httpx

from models.downloads.request import Interrupted, Limits, opened, reason
from models.downloads.transfer import Remote
from models.package_index import public_index
from models.sources import huggingface, modelscope, openxlab, pypi
from models.sources.answers import body_of, expect_ok
from models.sources.huggingface import in_hub_cache
from models.sources.listing import Description, Found, Wanted, loadable
from models.sources.pypi import index_url
from shared.engine import Cancel, Source, SourceKind
from shared.errors import BadRequest, ModelUnavailable

HUBS: tuple[SourceKind, ...] = ("hf", "modelscope", "openxlab")
CONFIG = "config.json"
PUBLIC = {"hf": ("huggingface.co",), "modelscope": ("modelscope.cn", "www.modelscope.cn"), "openxlab": ("openapi.openxlab.org.cn",)}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")

T = TypeVar("T")


def locate(
    source: Source, cancel: Cancel, limits: Limits, hf_endpoint: str | None = None, *, pickle: bool = False, code: bool = False
) -> Found:  # fmt: skip
    """The files of `source`, without fetching them: those it names, else what loading a model needs (`listing.loadable`).

    Raises `ModelUnavailable` with a short cause, `BadRequest` for a source that is written wrongly, and `Cancelled`."""
    if source.kind not in (*HUBS, "pypi"):
        raise ModelUnavailable(f"nothing can be downloaded from a source of the kind {source.kind}")
    if source.kind == "pypi":
        return patiently(lambda: pypi.locate(source, cancel, limits), cancel, limits)
    if source.kind == "hf" and source.files:  # a mirror need not know the Hub's listing for these
        return patiently(lambda: huggingface.named(source, cancel, limits, hf_endpoint), cancel, limits)
    found = _listing(source, cancel, limits, hf_endpoint)
    by_name = {want.names[0]: want for want in found.wanted}
    missing = [name for name in source.files if name not in by_name]
    if missing:
        raise ModelUnavailable(f"the repository has no file {missing[0]}")
    wanted = [by_name[name] for name in source.files or loadable(list(by_name), pickle=pickle, code=code)]
    if source.sha256 and len(wanted) == 1:
        wanted = [wanted[0].with_sha256(source.sha256)]
    return Found(wanted, found.host, found.revision)


def describe(
    kind: SourceKind, ref: str, revision: str = "", *,
    cancel: Cancel | None = None, limits: Limits = Limits(), hf_endpoint: str | None = None,
) -> Description:  # fmt: skip
    """What a repository of a hub holds, and the text of its config.json; fetches nothing else.

    Raises `ModelUnavailable` with a short cause, `BadRequest` for what is no repository's name, and `Cancelled`."""
    if kind not in HUBS:
        raise BadRequest(f"{kind} is no hub.", f"Choose one of {', '.join(HUBS)}.")
    cancel = cancel if cancel is not None else Cancel()
    found = _listing(Source(kind, ref, revision), cancel, limits, hf_endpoint)
    files = tuple((want.names[0], want.remote.size or 0) for want in found.wanted)
    config = next((want.remote for want in found.wanted if want.names[0] == CONFIG), None)
    text = patiently(lambda: _text(config, cancel, limits), cancel, limits) if config else ""
    return Description(files, text, found.revision, found.host)


def label(kind: str, host: str) -> str:
    """The kind of a source as people read it, with the host where that is not the kind's own: `hf (hf-mirror.com)`."""
    if kind == "pypi":
        return kind if not host or host == httpx.URL(public_index()).host else f"{kind} ({host})"
    return kind if not host or host in PUBLIC.get(kind, ()) else f"{kind} ({host})"


def _listing(source: Source, cancel: Cancel, limits: Limits, hf_endpoint: str | None) -> Found:
    """All files of a repository, without those whose names no disk takes: one of them is no reason to give up the others."""
    _check_name(source.ref)
    asks: dict[str, Callable[[], Found]] = {
        "hf": lambda: huggingface.listing(source, cancel, limits, hf_endpoint),
        "modelscope": lambda: modelscope.listing(source, cancel, limits),
        "openxlab": lambda: openxlab.listing(source, cancel, limits),
    }
    found = patiently(asks[source.kind], cancel, limits)
    return replace(found, wanted=[want for want in found.wanted if want.names[0].isprintable()])


def _check_name(ref: str) -> None:
    if not _NAME.fullmatch(ref):
        raise BadRequest(f"{ref!r} is no name of a repository.", "Write it as owner/name.")


def text_of(source: Source, cancel: Cancel, limits: Limits, hf_endpoint: str | None = None) -> str:
    """The first file that `source` names, as text. Raises as `locate` does."""
    remote = locate(source, cancel, limits, hf_endpoint).wanted[0].remote
    return patiently(lambda: _text(remote, cancel, limits), cancel, limits)


def _text(remote: Remote, cancel: Cancel, limits: Limits) -> str:
    with opened(remote.url, remote.headers, cancel, limits) as response:
        expect_ok(response)
        return body_of(response)


def patiently(ask: Callable[[], T], cancel: Cancel, limits: Limits) -> T:
    """`ask()`, twice more where that may help. Raises `ModelUnavailable` and `Cancelled`."""
    pauses = iter(limits.backoff[:2])
    while True:
        try:
            return ask()
        except Interrupted as error:
            pause = next(pauses, None)
            if pause is None:
                raise ModelUnavailable(reason(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ModelUnavailable(reason(error)) from error
        cancel.wait(pause)


__all__ = ["Description", "Found", "Wanted", "describe", "in_hub_cache", "index_url", "label", "locate", "patiently", "text_of"]
