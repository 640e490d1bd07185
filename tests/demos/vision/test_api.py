"""`/vision` on the real page in this process: pictures and a question in, a growing answer out, and nothing left behind."""

from __future__ import annotations

import dataclasses
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from demos import app
from demos.pictures.shelf import PREFIX
from demos.tab import App
from demos.vision.examples import FOLDER
from models.backends.scripted import Scripted
from models.registry import Registry
from shared.engine import Cancel, Engine, ModelSpec, OnProgress, Sampling, ToolSpec
from shared.events import Event
from shared.messages import Image, Message, Text, system
from shared.settings import Settings
from tests.demos.agent.tools import pdf_files
from tests.demos.pictures.samples import animated, bomb, corners, saved
from tests.no_files import NoFiles

ROOT = Path(__file__).parents[3]
REPLY = "A cat lies on a red chair. " * 4
SEES = ModelSpec(
    "sees", "scripted", (), capabilities=frozenset({"text", "image"}), context=2000, sampling=Sampling(temperature=0.3),
    options={"replies": [REPLY], "delay": 0.002},
)  # fmt: skip
READS = dataclasses.replace(SEES, id="reads", capabilities=frozenset({"text"}))
SLOW = dataclasses.replace(SEES, id="slow", options={"replies": [REPLY * 9], "delay": 0.05})
Heard = list[tuple[str, list[Message], Sampling]]


class Remembering(Scripted):
    """The script, which also keeps what it was asked, and sees that the files of the pictures are there."""

    def __init__(self, spec: ModelSpec, heard: Heard) -> None:
        super().__init__(spec)
        self._heard = heard

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:  # fmt: skip
        assert all(Path(part.path).is_file() for message in messages for part in message.parts if isinstance(part, Image))
        self._heard.append((self._spec.id, list(messages), sampling))
        return super().stream(messages, sampling, tools=tools, cancel=cancel)


@dataclasses.dataclass(frozen=True)
class Served:
    url: str
    client: Client
    heard: Heard
    loaded: list[str]
    folder: Path

    def vision(self, images: Sequence[Path], question: str = "What is this?", **named: Any) -> list[str]:
        """Every state of the answer, the last one whole."""
        job = self.client.submit([handle_file(str(path)) for path in images], question, api_name="/vision", **named)
        job.result(60)
        return [str(text) for text in job.outputs()]

    def asked(self) -> list[str | tuple[int, str]]:
        """Of the last question: texts, and width and detail of pictures."""
        parts = self.heard[-1][1][-1].parts
        return [(part.width, part.detail) if isinstance(part, Image) else part.text for part in parts if isinstance(part, Image | Text)]

    def left(self) -> list[Path]:
        return list(self.folder.glob(f"{PREFIX}*/*/*"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    heard: Heard = []
    loaded: list[str] = []

    def load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
        loaded.append(spec.id)
        return Remembering(spec, heard)

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("tmp")
        patch.setattr(tempfile, "tempdir", str(folder))
        registry = Registry([READS, SEES, SLOW], files=NoFiles(), load=load)
        program = App(registry, Settings(data_dir=str(tmp_path_factory.mktemp("data")), tabs="chat,vision"), "reads")
        page = app.build(program)
        port = app.free_port("127.0.0.1", 0)
        app.launch(page, program, port=port)
        client = Client(f"http://127.0.0.1:{port}", verbose=False, analytics_enabled=False, download_files=False)
        try:
            yield Served(f"http://127.0.0.1:{port}", client, heard, loaded, folder)
        finally:
            program.ends.close()
            registry.close()
            client.close()
            page.close(verbose=False)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Pictures 10, 11, 12 … pixels wide."""
    made = [tmp_path / f"{width}.png" for width in range(10, 31)]
    for path in made:
        path.write_bytes(saved(corners((int(path.stem), 9)), "PNG"))
    return made


def test_the_answer_grows_from_nothing_to_the_whole(served: Served, files: list[Path]) -> None:
    states = served.vision(files[:1])
    assert states[-1] == REPLY and len(set(states)) > 2
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(states))
    assert served.asked() == [(10, "auto"), "What is this?"] and served.left() == []


def test_several_pictures_have_numbers_in_the_order_given(served: Served, files: list[Path]) -> None:
    served.vision([files[2], files[0]], "Which is larger?")
    assert served.asked() == ["Image #1: ", (12, "auto"), "Image #2: ", (10, "auto"), "Which is larger?"]


def test_detail_and_all_else_reach_the_engine(served: Served, files: list[Path]) -> None:
    served.vision(files[:1], model="sees", detail="high", system="Be brief.", max_tokens=7, temperature=0, seed=5)
    assert served.asked() == [(10, "high"), "What is this?"]
    model, messages, sampling = served.heard[-1]
    assert (model, messages[0]) == ("sees", system("Be brief."))
    assert sampling == dataclasses.replace(SEES.sampling, temperature=0, max_tokens=7, seed=5)


def test_a_question_without_pictures_is_one_too(served: Served) -> None:
    assert served.vision([], "Hello")[-1] == REPLY and served.asked() == ["Hello"]


def test_an_animation_gives_its_first_frame(served: Served, tmp_path: Path) -> None:
    (tmp_path / "dance.gif").write_bytes(animated())
    served.vision([tmp_path / "dance.gif"])
    assert served.asked() == [(20, "auto"), "What is this?"]


BAD: dict[str, tuple[bytes, str]] = {
    "notes.pdf": (pdf_files.texts("one"), "takes pictures"), "x.png": (b"hello", "no picture that can be read"),
    "bomb.png": (bomb(), "pixels"),
    "torn.png": (saved(corners((300, 300)).effect_spread(9), "PNG")[:900], "broken"), "drawing.svg": (b"<svg xmlns='x'/>", "SVG"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_name_and_nothing_is_asked(served: Served, files: list[Path], tmp_path: Path, name: str) -> None:
    content, told = BAD[name]
    (tmp_path / name).write_bytes(content)
    before = len(served.heard)
    with pytest.raises(AppError, match=f"{name}.*{told}"):
        served.vision([files[0], tmp_path / name])
    assert len(served.heard) == before and served.left() == []


def test_too_many_are_refused(served: Served, files: list[Path]) -> None:
    with pytest.raises(AppError, match="These are 21 pictures; a message takes 20"):
        served.vision(files)
    assert served.left() == []
    assert served.vision(files[:20])[-1] == REPLY and len(served.asked()) == 41


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"model": "gpt"}, r"gpt.*reads.*sees"), ({"detail": "huge"}, "no detail 'huge'"),
        ({"question": " "}, "no question"), ({"question": None}, "no question"), ({"temperature": 9}, "temperature"),
        ({"max_tokens": 0}, "max tokens"), ({"max_tokens": None}, "number"), ({"seed": 2**40}, "seed"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_in_words(served: Served, files: list[Path], named: dict[str, Any], told: str) -> None:
    before = len(served.heard)
    with pytest.raises(AppError, match=told):
        served.vision(files[:1], **named)
    assert len(served.heard) == before and served.left() == []


def test_what_is_left_out_is_as_if_it_were_not_given(served: Served, files: list[Path]) -> None:
    assert served.vision(files[:1], model=None, system=None, detail=None, temperature=None, seed=None)[-1] == REPLY
    assert served.heard[-1][2] == dataclasses.replace(SEES.sampling, max_tokens=512)


def test_a_model_that_only_reads_is_refused_before_it_is_loaded(served: Served, files: list[Path]) -> None:
    with pytest.raises(AppError, match="reads text only"):
        served.vision(files[:1], model="reads")
    assert "reads" not in served.loaded and served.left() == []


def test_a_file_that_is_no_upload_is_not_read(served: Served, tmp_path: Path) -> None:
    """A path of this machine, or an address inside of it: Gradio refuses the one, and nobody fetches the other."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(saved(corners(), "PNG"))
    before = len(served.heard)
    for path in (str(secret), "/etc/passwd", "http://127.0.0.1:1/x.png", "file:///etc/passwd"):
        body = {"data": [[{"path": path, "meta": {"_type": "gradio.FileData"}}], "What?", "", "auto", "", 512, -1, -1]}
        asked = httpx.post(f"{served.url}/gradio_api/call/vision", json=body, trust_env=False)
        if asked.status_code == 200:
            with httpx.stream(
                "GET", f"{served.url}/gradio_api/call/vision/{asked.json()['event_id']}", timeout=60, trust_env=False
            ) as answer:
                assert "event: error" in list(answer.iter_lines())
    assert len(served.heard) == before


def test_a_caller_who_leaves_stops_the_answer_and_takes_his_pictures_with_him(served: Served, files: list[Path]) -> None:
    job = served.client.submit([handle_file(str(files[0]))], "What?", "slow", api_name="/vision")
    while not job.outputs():
        assert not job.done()
        threading.Event().wait(0.02)
    assert len(served.left()) == 1
    job.cancel()
    assert served.vision(files[1:2])[-1] == REPLY
    for _ in range(600):
        if not served.left():
            break
        threading.Event().wait(0.05)
    assert served.left() == []


def test_the_example_of_the_docs(served: Served, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/vision.md").read_text("utf-8"), re.DOTALL)
    assert "http://127.0.0.1:7860" in example
    shutil.copy(FOLDER / "page.png", tmp_path)
    code = example.replace("http://127.0.0.1:7860", served.url)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert REPLY.strip() in done.stdout and served.asked() == [(744, "auto"), "What does this page say?"]
