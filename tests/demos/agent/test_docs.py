"""The examples of docs/agent.md, run as they stand there against a page of their own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.settings import Settings
from tests.demos.agent.test_api import serving

PAGE = Path(__file__).parents[3] / "docs" / "agent.md"
SCRIPT = "calculator"  # its model answers a task with one call


def example(language: str, url: str) -> str:
    """The block of this language that asks the endpoint, of the page and the model that are here."""
    (found,) = (block for block in re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "/agent" in block)
    assert "http://127.0.0.1:7860" in found
    return str(found).replace("http://127.0.0.1:7860", url)


def test_the_python_example() -> None:
    with serving(Settings(), model=SCRIPT, tier=lambda: "none") as page:
        done = subprocess.run([sys.executable, "-c", example("python", page.url)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["It is 42.", 'Calculator {"expression": "6 * 7"} -> 42']


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="needs bash and curl")
def test_the_curl_example() -> None:
    with serving(Settings(), model=SCRIPT, tier=lambda: "none") as page:
        done = subprocess.run(["bash", "-c", example("bash", page.url)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "event: complete" in done.stdout and '"answer": "It is 42."' in done.stdout
