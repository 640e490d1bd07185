"""Where packages come from when nobody says so: pip's own answer, also in an environment without pip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from models.package_index import public_index

ROOT = Path(__file__).resolve().parents[2]


def test_it_is_a_simple_index() -> None:
    url = urlsplit(public_index())
    assert url.scheme == "https" and url.path.rstrip("/").endswith("simple")


def test_an_environment_without_pip_gets_the_same(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    code = "from models.package_index import public_index; print(public_index())"
    bare = tmp_path / "bare" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    asked = subprocess.run([str(bare), "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == public_index()
