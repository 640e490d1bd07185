"""The doctor's checks of what is outside: download sources, proxies, SSH, the endpoint. Asks, and downloads nothing."""

from __future__ import annotations

import getpass
import http.client
import importlib.util
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from demos.doctor_machine import model_is_here
from demos.finding import Finding, Surroundings
from shared.engine import Cancel
from shared.errors import ModelUnavailable

CONNECT_SECONDS = 5.0
LARGEST_ANSWER = 1 << 20
DEFAULT_HUB = "https://huggingface.co"
DEFAULT_PORT = 7860
_OTHER_WAYS = "Name a mirror with PIP_INDEX_URL or HF_ENDPOINT, set HTTPS_PROXY, or work offline with what is on disk."


def sources(surroundings: Surroundings) -> Iterator[Finding]:
    """Whether the places that models come from answer. One is enough; where a model is on disk, none is needed."""
    if surroundings.settings.offline or surroundings.settings.source == "local":
        yield Finding("sources", "ok", "not asked: downloads are switched off")
        return
    places = {"PyPI index": _index(), "Hugging Face": surroundings.environment.get("HF_ENDPOINT") or DEFAULT_HUB}
    places = {name: url for name, url in places.items() if url}
    with ThreadPoolExecutor(len(places)) as executor:
        problems = dict(zip(places, executor.map(_problem, places.values()), strict=True))
    none_answers = all(problems.values()) and not model_is_here(surroundings)
    for name, problem in problems.items():
        if problem:
            yield Finding(name, "fail" if none_answers else "warn", f"{places[name]}: {problem}", _OTHER_WAYS)
        else:
            yield Finding(name, "ok", f"{places[name]} answers")


def proxies(surroundings: Surroundings) -> Iterator[Finding]:
    """The proxies in the environment; ours is a local page, which no proxy may take."""
    environment = surroundings.environment
    names = [f"{kind}_proxy" for kind in ("http", "https", "all")]
    found = {name: environment[name] for name in (*names, *map(str.upper, names)) if environment.get(name)}
    if not found:
        yield Finding("proxies", "ok", "none")
        return
    shown = ", ".join(f"{name}={value}" for name, value in found.items())
    exempt = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if any(value.startswith("socks") for value in found.values()) and importlib.util.find_spec("socksio") is None:
        yield Finding("proxies", "warn", f"{shown}: a SOCKS proxy needs the package socksio", 'pip install "httpx[socks]"')
    elif "localhost" not in exempt.split(",") and exempt != "*":
        yield Finding("proxies", "warn", f"{shown}; localhost goes through it too", "Set no_proxy=localhost,127.0.0.1,::1")
    else:
        yield Finding("proxies", "ok", f"{shown}; localhost goes past it")


def ssh(surroundings: Surroundings) -> Iterator[Finding]:
    """Under SSH the page is on the other machine: the command that brings it here."""
    if surroundings.environment.get("SSH_CONNECTION"):
        command = forward_command(surroundings.environment, surroundings.settings.port or DEFAULT_PORT)
        yield Finding("ssh", "ok", f"this is a remote machine; on your own one run: {command}")
    else:
        yield Finding("ssh", "ok", "not connected over SSH")


def forward_command(environment: Mapping[str, str], port: int) -> str:
    """The ssh command that makes `port` of this machine reachable as localhost on the one the user sits at."""
    connection = environment.get("SSH_CONNECTION", "").split()  # client address, client port, our address, our port
    host, ssh_port = connection[2:4] if len(connection) == 4 else ("HOST", "22")
    return f"ssh -CNg -L {port}:127.0.0.1:{port} {getpass.getuser()}@{host} -p {ssh_port}"


def endpoint(surroundings: Surroundings) -> Iterator[Finding]:
    """The server given by --api-base: whether it answers, takes the key, and has the model."""
    settings = surroundings.settings
    if not settings.api_base:
        return
    url = settings.api_base.rstrip("/") + "/models"
    headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    remedy = "Check --api-base (it usually ends in /v1), --api-key, and that the server runs."
    status, body = _ask(url, "GET", headers)
    if status != 200:
        cause = {401: "it wants another key", 403: "it refuses this key", 404: "it has no /models here"}.get(status, body)
        yield Finding("endpoint", "fail", f"{url}: {cause}", remedy)
        return
    names = _model_names(body)
    if names is None:
        yield Finding("endpoint", "fail", f"{url} answers, but not as an OpenAI-compatible server does", remedy)
    elif settings.api_model and settings.api_model not in names:
        detail = f"it does not list {settings.api_model}; it has {_few(names)}"
        yield Finding("endpoint", "warn", detail, "Choose one of them with --api-model.")
    else:
        yield Finding("endpoint", "ok", f"{url} answers and has {_few(names)}")


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: urllib would carry the key to another host."""

    def redirect_request(self, *arguments: Any, **keywords: Any) -> None:
        return None


def _problem(url: str) -> str:
    """Why `url` cannot be used; empty when it answers. An answer that only says "not like this" is one."""
    status, text = _ask(url.rstrip("/") + "/", "HEAD", {})
    if status == 0:
        return text
    return {407: "the proxy wants a login"}.get(status, f"answers {status}" if status >= 500 else "")


def _ask(url: str, method: str, headers: Mapping[str, str]) -> tuple[int, str]:
    """(status, body), or (0, reason) when there was no answer."""
    if urlsplit(url).scheme not in ("http", "https"):
        return 0, "that is no web address"
    try:
        request = urllib.request.Request(url, method=method, headers=dict(headers))
        with urllib.request.build_opener(_StayHere).open(request, timeout=CONNECT_SECONDS) as response:
            return response.status, response.read(LARGEST_ANSWER).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, f"answers {error.code}"
    except urllib.error.URLError as error:
        return 0, _reason(error.reason)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return 0, _reason(error)


def _reason(cause: object) -> str:
    if isinstance(cause, TimeoutError):
        return f"no answer within {CONNECT_SECONDS:.0f} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "its certificate is not trusted here (a company proxy? set SSL_CERT_FILE)"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _model_names(body: str) -> list[str] | None:
    try:
        listed = json.loads(body)["data"]
        return [str(entry["id"]) for entry in listed]
    except (ValueError, KeyError, TypeError):
        return None


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "no model"


def _index() -> str:
    """The package index of this machine; empty where none is known, which the packages check explains."""
    from models.package_index import public_index

    try:
        from models import sources as places
    except ImportError:  # the packages check says what is missing
        return public_index()
    try:
        return places.index_url(Cancel())
    except ModelUnavailable:
        return ""
