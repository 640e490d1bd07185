"""The Python package index that pip asks where nobody named another: pip knows it, so we do not write it down again."""

from __future__ import annotations

import ensurepip
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from shared.errors import ModelUnavailable

_ASK = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"


@cache
def public_index() -> str:
    """Its address, from the pip installed here, else from the one that Python carries (environments made by uv have none).

    Raises `ModelUnavailable` where there is no pip at all."""
    carried = [str(wheel) for wheel in sorted(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))]
    for path in ([], carried):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
        asked = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, env=environment, timeout=30, check=False)
        if asked.returncode == 0 and asked.stdout.strip():
            return asked.stdout.strip()
    raise ModelUnavailable("no package index is known here: there is no pip", "Name one with PIP_INDEX_URL.")
