"""Pickled weights that a catalog entry has opted in to, as safetensors: converted once, when they have come, and then removed.

Opens no pickle itself: a child process does, with torch's restricted unpickler (`backends/pickle_child.py`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from models.downloads.transfer import check_space
from models.environment import without_secrets
from shared.engine import Cancel, Cancelled, ModelSpec, OnProgress, Progress
from shared.errors import ModelUnavailable

OPTION = "pickle"
SUFFIXES = (".bin", ".pth")
CHILD = Path(__file__).parents[1] / "backends" / "pickle_child.py"


def opted_in(spec: ModelSpec) -> bool:
    return spec.options.get(OPTION) is True


def of(names: list[str]) -> list[str]:
    """The pickled weights among the files of a model."""
    return sorted(name for name in names if name.endswith(SUFFIXES))


def kept(spec: ModelSpec, names: list[str]) -> list[str]:
    """The names under which the files that an entry lists stay: as the child process calls what it makes of pickles."""
    return [name.removesuffix(".pth") + ".safetensors" if opted_in(spec) and name.endswith(".pth") else name for name in names]


def convert(spec: ModelSpec, folder: Path, names: list[str], on_progress: OnProgress, cancel: Cancel) -> list[str]:
    """The files of the model in `folder` with safetensors in place of pickles; the pickles stay until `remove`.

    Raises `ModelUnavailable` where a file holds anything but tensors, and `Cancelled`; the next call begins again."""
    pickled = of(names)
    sizes = {name: (folder / name).stat().st_size for name in pickled}
    check_space(folder, sum(sizes.values()))
    made, done, said = [name for name in names if name not in pickled and not name.endswith(".bin.index.json")], 0, ""
    on_progress(Progress("loading", spec.id, 0, sum(sizes.values()), detail="safetensors"))
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        with _running([sys.executable, str(CHILD), str(folder), *pickled], log, cancel) as child:
            for line in child.stdout or ():
                answer = json.loads(line)
                said = str(answer.get("error", said))
                if "made" in answer:
                    made.append(str(answer["made"]))
                    done += sizes.get(str(answer["file"]), 0)
                    on_progress(Progress("loading", spec.id, done, sum(sizes.values()), detail="safetensors"))
            code = child.wait()
        if cancel.is_set():
            raise Cancelled
        if code or said:
            log.seek(0)
            cause = said or f"the conversion ended with {code}"
            raise ModelUnavailable(f"its pickled weights cannot be converted: {cause}", log=log.read()[-4000:])
    return made


@contextmanager
def _running(command: list[str], log: IO[str], cancel: Cancel) -> Iterator[subprocess.Popen[str]]:
    """The child, which `cancel` ends at once, and which has ended when this has."""
    environment = without_secrets(os.environ)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    unsubscribe = cancel.subscribe(child.kill)
    try:
        with child:
            yield child
    finally:
        unsubscribe()
        child.kill()


def remove(folder: Path, names: list[str]) -> None:
    """Delete the pickles and their index, once what was made of them is written down."""
    for name in names:
        if name.endswith((*SUFFIXES, ".bin.index.json")):
            (folder / name).unlink(missing_ok=True)
