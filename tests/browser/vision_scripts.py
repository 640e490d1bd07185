"""What the vision tab's tests put under the page: models that follow a script, an endpoint, and a site with pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.browser.vision_page import picture

PIECE_SECONDS = {"slow": 0.05, "varies": 0.03}
CAT = "<ref>the cat</ref><box>(100,50),(700,950)</box>"
TAG = "<img src=x onerror=document.title=1>"
HOSTILE = f'{TAG} ${{document.title=2}} {{"bbox_2d": [100, 100, 900, 900], "label": "{TAG}"}}'
SCRIPTS: Mapping[str, Sequence[str]] = {
    "sees": ["It is a picture."],
    "frames": [f"Here is {CAT}, asleep."],
    "slow": ["word " * 2000],
    "varies": [f"{number}. {'Now. ' * 20}" for number in ("First", "Second", "Third", "Fourth")],
    "hostile": [HOSTILE],
}


def catalog(folder: Path, endpoint: str) -> Path:
    """The scripts as models of a file for `--models`: one for each, so that no test depends on how far another one's has come; and the
    model `remote` at `endpoint`, and `absent`, which nobody fetches."""
    path = folder / "scripts.toml"
    head = 'backend = "scripted"\ndialect = "chatml"\ncontext = 16384\ncapabilities = ["text", "image", "prefill", "choice"]'
    tables = [
        f'[[model]]\nid = "{name}"\n{head}\nsource = [{{ kind = "path", ref = "{path}" }}]\n'
        f"[model.options]\npieces = 5\ndelay = {PIECE_SECONDS.get(name, 0)}\nreplies = {json.dumps(list(replies))}\n"
        for name, replies in SCRIPTS.items()
    ]
    tables.append(
        '[[model]]\nid = "remote"\nbackend = "openai_remote"\ncontext = 16384\ncapabilities = ["text", "image"]\n'
        f'source = [{{ kind = "endpoint", ref = "{endpoint}" }}]\n'
    )
    tables.append(
        '[[model]]\nid = "absent"\nbackend = "llama_cpp"\ncapabilities = ["text", "image"]\nsize_bytes = 4000000\n'
        'source = [{ kind = "hf", ref = "org/absent", revision = "main", files = ["absent.gguf"] }]\n'
    )
    path.write_text("\n".join(tables), "utf-8")
    return path


def _pictures(path: str) -> tuple[int, bytes]:
    pages = {"/green.png": picture("", "green").content, "/page.png": b"<!doctype html><p>a page</p>"}
    return (200, pages[path]) if path in pages else (404, b"none")


SITES = {"pictures.example": _pictures}
