"""What went wrong with a server, in words that say what to do: exceptions of the `openai` client as `DemoError`s.

Knows no request: the caller decides what to try again. The API key never appears in what comes out, not even where the
server sends it back.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import openai

from models.openai.picture_data import shortened
from shared.errors import BadRequest, DemoError, ModelUnavailable, RemoteFailure
from shared.settings import Secret

_TOO_LONG = re.compile(r"context[ _](length|size|window)|maximum.{0,20}(context|session)|exceed_context|too many tokens|session_len", re.I)
_NO_PROJECTOR = "image input is not supported"  # llama.cpp says so with the status 500
_EXTRA = re.compile(r"top_k|repetition_penalty|repeat_penalty", re.I)
_TOO_MANY_PICTURES = re.compile(r"(at most|maximum of|limit of|more than) \d+ (image|picture)|too many (image|picture)", re.I)
_PICTURES = re.compile(r"image_url|\bimages?\b|multi-?modal|\bvision\b|mmproj", re.I)  # in a refusal they are what was refused
_LOG = "Look at the server's log."


@dataclass(frozen=True, slots=True)
class Asked:
    """Of whom what was asked: `where` is the base URL without a password in it."""

    where: str
    model: str
    key: Secret
    timeout: float
    offered: tuple[str, ...] = ()


def explain(error: openai.OpenAIError | ValueError, asked: Asked) -> DemoError:
    """The `DemoError` for an exception raised by the client, or by reading what the server sent."""
    match error:
        case openai.APITimeoutError():
            return _timed_out(error, asked)
        case openai.APIConnectionError():
            return _not_connected(error, asked)
        case openai.APIStatusError():
            return _status(error, asked)
        case openai.APIError():  # an error inside a stream that began well
            return RemoteFailure(f"The server broke the answer off: {server_text(error, asked.key)}", _LOG)
        case _:
            return not_openai(asked, "its answer cannot be read")


def not_openai(asked: Asked, why: str) -> RemoteFailure:
    return RemoteFailure(
        f"{asked.where} does not answer like an OpenAI-compatible server: {why}.",
        "Check the address; it usually ends in /v1, as in http://127.0.0.1:23333/v1.",
    )


def server_text(error: BaseException, key: Secret) -> str:
    """What the server said, on one line, shortened, without the key and without pictures."""
    text = shortened(" ".join(str(error).split()))  # some send the request back
    return (text.replace(str(key), "********") if len(key) > 5 else text)[:500]  # "k" is no secret, and in every other word


def _timed_out(error: Exception, asked: Asked) -> DemoError:
    if any(isinstance(cause, httpx.ConnectTimeout) for cause in _causes(error)):
        return RemoteFailure(f"{asked.where} cannot be reached: no connection within 5 s.", "Check the address, the network and the proxy.")
    return RemoteFailure(
        f"{asked.where} was silent for {asked.timeout:g} s.", "Look whether the server is overloaded, or raise the timeout of this model."
    )


def _not_connected(error: Exception, asked: Asked) -> DemoError:
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return RemoteFailure(f"There is no host of the name in {asked.where}.", "Check the address.")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return RemoteFailure(f"Nothing answers at {asked.where}: the connection was refused.", "Start the server, or check its port.")
    detail = server_text(causes[-1] if causes else error, asked.key)
    if any(isinstance(cause, httpx.ConnectError | httpx.ProxyError) for cause in causes):
        return RemoteFailure(f"{asked.where} cannot be reached: {detail}.", "Check the address, the network and the proxy.")
    return RemoteFailure(f"{asked.where} hung up: {detail}.", f"Ask again. {_LOG}")


def _status(error: openai.APIStatusError, asked: Asked) -> DemoError:
    code, text = error.status_code, server_text(error, asked.key)
    if "html" in error.response.headers.get("content-type", ""):
        text = f"{code}, with a web page"
    if code in (401, 403):
        had = "The server refused the API key" if asked.key else "The server wants an API key"
        return ModelUnavailable(f"{had}: {text}", "Set OPENAI_API_KEY or --api-key to a key of this server.")
    if code == 404:
        return _not_found(text, asked)
    if code == 413:
        return BadRequest(f"The request is too large for the server: {text}", "Shorten the conversation, or take pictures out of it.")
    if code in (400, 422):
        return _refused(text)
    if code == 429:
        return RemoteFailure(f"The server takes no more requests now: {text}", "Wait a little, or check the quota of the key.")
    return _no_pictures(text) if _NO_PROJECTOR in text else RemoteFailure(f"The server failed: {text}", _LOG)


def _not_found(text: str, asked: Asked) -> DemoError:
    if asked.offered and asked.model not in asked.offered:
        return ModelUnavailable(f"{asked.where} has no model {asked.model!r}.", f"It offers: {', '.join(asked.offered[:20])}.")
    return not_openai(asked, text)


def _refused(text: str) -> DemoError:
    if _TOO_LONG.search(text):
        return BadRequest(
            f"The conversation is too long for the server: {text}",
            "Start a new conversation, shorten it, lower max tokens, or start the server with a longer context.",
        )
    if _EXTRA.search(text):
        return BadRequest(
            f"The server does not understand top-k or the repetition penalty: {text}",
            'Give its model extra = "plain" in a catalog file, and set top-k to 0 and the repetition penalty to 1.',
        )
    if _TOO_MANY_PICTURES.search(text):
        return BadRequest(
            f"The server takes fewer pictures in one conversation: {text}",
            "Take some out, or start a new conversation; vLLM is told how many at its start, with --limit-mm-per-prompt.",
        )
    if _PICTURES.search(text):
        return _no_pictures(text)
    return BadRequest(f"The server refused the request: {text}", "Change the setting it names.")


def _no_pictures(text: str) -> BadRequest:
    return BadRequest(
        f"The server refused a picture: {text}", "Choose a model that sees pictures (and such pictures), or ask without them."
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
