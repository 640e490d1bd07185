"""The Space: what README.md promises the builder, and what ZeroGPU leaves out."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import launch
from demos import space
from demos.finding import Surroundings
from models import catalog
from shared import settings as settings_module
from shared.errors import ModelUnavailable
from tests.page_process import free_port, page_process
from tests.test_light_install import CHATML, requirements

ROOT = Path(__file__).resolve().parent.parent
TORCH_CATALOG = '[[model]]\nid = "big"\nbackend = "transformers_local"\n[[model.source]]\nkind = "hf"\nref = "someone/big"\n'
# The package `spaces` of the platform, as far as it is used here.
SPACES = "from pathlib import Path\ndef GPU(task):\n    Path({path!r}).write_text(task.__name__)\n    return task\n"


def front_matter() -> dict[str, object]:
    parsed = yaml.safe_load((ROOT / "README.md").read_text("utf-8").split("---\n")[1])
    assert isinstance(parsed, dict)
    return parsed


@pytest.fixture
def on_zerogpu() -> None:
    os.environ["SPACES_ZERO_GPU"] = "true"  # the fixture own_home takes it back


@pytest.fixture
def safetensors(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text(CHATML)
    (folder / "model.safetensors").write_bytes(bytes(64))
    return folder


def settings(**flags: object) -> settings_module.Settings:
    return settings_module.read({"offline": True, **flags}, os.environ)


def test_the_space_runs_the_gradio_that_is_pinned() -> None:
    assert requirements("requirements.txt")["gradio"].specifier == SpecifierSet(f"=={front_matter()['sdk_version']}")


def test_the_space_has_a_python_that_zerogpu_has_and_we_run_on() -> None:
    version = front_matter()["python_version"]
    assert version in ("3.10.13", "3.12.12")
    assert Version(str(version)) >= Version("3.11")


def test_the_space_starts_our_program() -> None:
    matter = front_matter()
    assert matter["sdk"] == "gradio"
    assert (ROOT / str(matter["app_file"])).is_file()
    assert (ROOT / "requirements.txt").is_file()
    assert not [line for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line.startswith("-")]
    assert len(str(matter["short_description"])) <= 60


def test_the_space_names_the_default_model() -> None:
    spec = catalog.find(catalog.read(catalog.BUILT_IN), catalog.DEFAULT_MODEL)
    assert front_matter()["models"] == [source.ref for source in spec.sources if source.kind == "hf"]


def test_the_environment_of_a_space_is_enough_to_start(tmp_path: Path) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "SPACE_ID": "someone/studio",
        "SYSTEM": "spaces",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
    }
    with page_process([sys.executable, "launch.py"], port, tmp_path / "log", cwd=ROOT, environment=environment) as page:
        assert page.get("/")[0] == 200


def test_elsewhere_nothing_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TORCH_CATALOG)
    offered = launch.build_registry(settings(models=str(tmp_path / "mine.toml"))).specs()
    assert "big" in {spec.id for spec in offered}


@pytest.mark.usefixtures("on_zerogpu")
def test_zerogpu_leaves_torch_models_out_and_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "mine.toml").write_text(TORCH_CATALOG)
    with caplog.at_level(logging.WARNING):
        registry = launch.build_registry(settings(models=str(tmp_path / "mine.toml"), api_base="http://127.0.0.1:1/v1"))
    assert {spec.backend for spec in registry.specs()} == {"openai_remote", "llama_cpp", "image_facts"}
    assert "big" in caplog.text and "ZeroGPU" in caplog.text


@pytest.mark.usefixtures("on_zerogpu")
def test_zerogpu_refuses_a_torch_model_by_id_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TORCH_CATALOG)
    with pytest.raises(ModelUnavailable, match="big cannot run here: ZeroGPU") as raised:
        launch.build_registry(settings(models=str(tmp_path / "mine.toml"), model="big"))
    assert "GGUF" in raised.value.remedy


@pytest.mark.usefixtures("on_zerogpu")
def test_zerogpu_refuses_a_torch_model_by_path_in_one_line(safetensors: Path) -> None:
    command = [sys.executable, "launch.py", "chat", "--model", str(safetensors), "--once", "Hello"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tiny cannot run here: ZeroGPU") and done.stderr.count("\n") == 1


def test_the_doctor_speaks_of_zerogpu_there_only() -> None:
    def found(environment: dict[str, str]) -> list[str]:
        return [finding.name for finding in space.doctor_check(Surroundings(settings(), environment, ROOT))]

    assert found({"SPACES_ZERO_GPU": "true"}) == ["zerogpu"]
    assert found({}) == []


@pytest.mark.parametrize(("value", "declared"), [("true", True), ("", False)])
def test_zerogpu_is_told_of_a_gpu_function_before_the_page_is_up(tmp_path: Path, value: str, declared: bool) -> None:
    note = tmp_path / "declared"
    (tmp_path / "spaces.py").write_text(SPACES.format(path=str(note)))
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "SPACES_ZERO_GPU": value}
    command = [sys.executable, "launch.py", "--offline", "--port", str(port)]
    with page_process(command, port, tmp_path / "log", cwd=ROOT, environment=environment):
        assert note.exists() is declared
