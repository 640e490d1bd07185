"""What requirements-core.txt alone can do, and that the page never waits for the heavy packages where they are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

from tests.page_process import PATIENCE, free_port, page_process

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "lagent", "accelerate", "sentencepiece", "einops", "gguf", "cachetools", "safetensors", "tokenizers")
LIGHT = f"""
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
sys.argv[0] = "launch.py"
import launch
raise SystemExit(launch.main())
"""
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"


def light(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LIGHT, *arguments]
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False)


def requirements(name: str) -> dict[str, Requirement]:
    lines = [line.strip() for line in (ROOT / name).read_text("utf-8").splitlines()]
    parsed = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    return {requirement.name: requirement for requirement in parsed}


def test_requirements_are_core_and_more() -> None:
    core, full = requirements("requirements-core.txt"), requirements("requirements.txt")
    assert {name: full.get(name) for name in core} == core
    assert {"torch", "transformers", "accelerate", "lagent", "cachetools"} <= set(full) - set(core)


def test_no_requirements_file_names_a_registry() -> None:
    for path in ROOT.glob("requirements*.txt"):
        assert "://" not in path.read_text("utf-8") and "--" not in path.read_text("utf-8")


def test_a_light_install_chats() -> None:
    done = light("chat", "--demo", "--once", "Hello")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_a_light_install_lists_models() -> None:
    done = light("models", "--json")
    assert done.returncode == 0
    assert "smollm2-135m-instruct" in {model["id"] for model in json.loads(done.stdout)}


def test_a_light_install_serves_the_page(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", LIGHT, "--offline", "--port", str(port)]
    with page_process(command, port, tmp_path / "log", cwd=ROOT, environment=os.environ) as page:
        status, html = page.get("/")
    assert status == 200 and "gradio" in html


def test_a_light_install_says_what_a_safetensors_model_needs(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text('{"max_position_embeddings": 64}')
    (folder / "chat_template.jinja").write_text(CHATML)
    (folder / "model.safetensors").write_bytes(bytes(64))
    done = light("chat", "--model", str(folder), "--once", "Hello")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip().splitlines()[-1].startswith("tiny needs the package ")
    assert "pip install -r requirements.txt" in done.stderr


def test_the_page_answers_before_torch_transformers_or_lagent_is_imported(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-X", "importtime", "launch.py", "--offline", "--port", str(port)]
    with page_process(command, port, tmp_path / "log", cwd=ROOT, environment=os.environ) as page:
        assert page.get("/")[0] == 200
    lines = page.log.read_text(errors="replace").splitlines()
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if line.startswith("import time:")}
    assert "gradio" in imported
    assert not imported & {"torch", "transformers", "lagent", "xllamacpp"}
