"""The image without Docker: the Dockerfile's own commands, run as a user who may write nowhere but in the data folder."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.page_process import PATIENCE, free_port, page_process

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534
PORT = "7860"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, what follows it), continued lines joined."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines]


def last(name: str) -> str:
    return [value for instruction, value in instructions() if instruction == name][-1]


def environment_of_image() -> dict[str, str]:
    pairs = [item.partition("=") for name, value in instructions() if name == "ENV" for item in shlex.split(value)]
    return {name: value for name, _, value in pairs}


def exec_form(text: str, port: int) -> list[str]:
    """A command in JSON form, on this Python and another port."""
    command = [word.replace(PORT, str(port)) for word in json.loads(text)]
    assert command[0] == "python"
    return [sys.executable, *command[1:]]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that another user may pass through, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def source(place: Path) -> Path:
    """What the image would hold, and nobody may write: the files git knows, without those .dockerignore keeps out."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("which files belong to the program is asked of git, and this is no checkout")
    ignored = {line.strip() for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()}
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in listed.rstrip("\0").split("\0"):
        if name.partition("/")[0] not in ignored and (ROOT / name).is_file():
            (place / "app" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place / "app" / name)
    for path in (place / "app", *(place / "app").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return place / "app"


def as_nobody() -> list[str]:
    """What to put before a command so that it runs as a user without rights.

    A Python below root's home is closed to others; there the user may read everything, and still write nothing."""
    if os.name == "nt" or os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root, with setpriv (util-linux), can start a program as another user")
    plain = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    reader = [*plain[:-2], *(f"--{name}=-all,+dac_read_search" for name in ("inh-caps", "ambient-caps", "bounding-set"))]
    for prefix in (plain, reader):
        if (
            subprocess.run([*prefix, "sh", "-c", '"$0" -c "import gradio"', sys.executable], capture_output=True, check=False).returncode
            == 0
        ):
            return prefix
    pytest.skip("this machine lets no other user read the Python of these tests")


def test_the_start_command_serves_the_page_and_the_health_check_sees_it(place: Path, source: Path) -> None:
    nobody = as_nobody()
    data, port = place / "data", free_port()
    data.mkdir()
    os.chown(data, NOBODY, NOBODY)
    (place / "home").mkdir()
    image = environment_of_image()
    environment = {"PATH": os.environ["PATH"], "HOME": str(place / "home"), **image, "PUYU_DATA_DIR": str(data)}
    check = exec_form(last("HEALTHCHECK").partition("CMD")[2], port)

    def healthy() -> bool:
        return subprocess.run([*nobody, *check], env=environment, capture_output=True, timeout=PATIENCE, check=False).returncode == 0

    assert not healthy()
    command = [*nobody, *exec_form(last("CMD"), port)]
    with page_process(command, port, place / "log", cwd=source, environment=environment) as page:
        assert page.get("/")[0] == 200
        assert healthy()
        assert Path(f"/proc/{page.process.pid}").stat().st_uid == NOBODY
    assert not list((place / "home").iterdir())
    assert not [path for path in source.rglob("*") if path.stat().st_mode & stat.S_IWUSR]
    assert {path.name for path in data.iterdir()} <= {"browser-secret"}


def test_the_image_runs_as_uid_1000_on_7860_with_its_data_in_a_volume() -> None:
    assert last("USER") == "1000"
    assert "--uid 1000" in " ".join(value for name, value in instructions() if name == "RUN")
    assert last("EXPOSE") == PORT
    assert environment_of_image()["PUYU_DATA_DIR"] == last("VOLUME") == "/data"
    command = json.loads(last("CMD"))
    assert command[command.index("--port") + 1] == PORT
    assert f"127.0.0.1:{PORT}/healthz" in last("HEALTHCHECK")


def test_the_image_installs_our_requirements_files_only() -> None:
    installs = [value for name, value in instructions() if name == "RUN" and "pip install" in value]
    assert installs == ['pip install --no-cache-dir -r "$REQUIREMENTS" -r requirements-pdf.txt']
    assert (ROOT / last("ARG").partition("=")[2]).is_file()


def test_what_the_program_reads_is_not_kept_out_of_the_image(source: Path) -> None:
    there = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    needed = {"launch.py", "requirements-core.txt", "requirements.txt", "models/catalog.toml", "demos/strings.toml", "demos/page.css"}
    assert needed <= there
    assert not [name for name in there if name.startswith(("tests/", "docs/", ".git/", ".venv/"))]
