"""Why a llama.cpp child does not answer, in words: from how its process ended and the end of its log."""

from __future__ import annotations

import re
import signal
import sys

import httpx

from shared.errors import BadRequest, DemoError, ModelUnavailable, OutOfMemory

# What ggml, llama.cpp, C++ and Python write when an allocation fails.
_FULL = ("insufficient memory", "failed to allocate", "out of memory", "bad_alloc", "MemoryError", "cudaMalloc failed")
_UNFIT = re.compile(r"mismatch between text model \(n_embd = (\d+)\) and mmproj \(n_embd = (\d+)\)")
_NO_PROJECTOR = "failed to load multimodal model"
_BROKEN_PROJECTOR = re.compile(r"clip_init: failed to load model '.*': (?:operator\(\): )?(.+)")
_OWN_PROJECTOR = "Download it again, or put the projector (mmproj-….gguf) of this very model beside it."
_REMEDY = "Choose a smaller model or a shorter context, or close other programs."
_KILLED = -signal.SIGKILL if sys.platform != "win32" else 0


def of_child(name: str, code: int | None, log: str, *, loading: bool) -> DemoError:
    """The error for a child that nobody stopped; `code` is None while it still runs.

    `OutOfMemory` where its log says so, or where the system killed it while it loaded, which hardly has another reason: all
    its memory is taken then, so a later kill says nothing about its size."""
    last = "\n".join(log.splitlines()[-24:])  # what failed stands above the traceback
    if code is not None and ((loading and code == _KILLED) or any(sign in last for sign in _FULL)):
        return OutOfMemory(f"Memory ran out while {name} {'was loaded' if loading else 'answered'}.", _REMEDY, log=log)
    if loading and _NO_PROJECTOR in log:
        return ModelUnavailable(_why_blind(name, log), _OWN_PROJECTOR, log=log)
    if loading and "xllamacpp" in last and "ModuleNotFoundError" in last:
        return ModelUnavailable("GGUF models need the package xllamacpp, which is not installed.", "Install it with: pip install xllamacpp")
    what = "could not be loaded" if loading else "stopped working" if code is not None else "does not answer"
    why = f" (its process ended with {code})" if code is not None else ""
    remedy = "The file may be damaged, or memory short: see the log." if loading else "Ask again: it is started anew."
    return ModelUnavailable(f"{name} {what}{why}.", remedy, log=log)


def _why_blind(name: str, log: str) -> str:
    if unfit := _UNFIT.search(log):
        return f"The projector of {name} belongs to another model: it makes rows of {unfit[2]} numbers, and this one reads {unfit[1]}."
    broken = _BROKEN_PROJECTOR.search(log)
    return f"The projector of {name} could not be loaded" + (f": {broken[1].strip().rstrip('.')}." if broken else ".")


def refusal(name: str, response: httpx.Response) -> BadRequest:
    """The error for a request that the child answered with another status than 200."""
    response.read()
    try:
        reason = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        reason = response.text[:200]
    return BadRequest(f"{name} refused the request: {reason}.", "Change the settings or the message.")
