"""`/write` on the real page in this process: an instruction in, an illustrated article out as three files, and nothing left behind."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import tempfile
import threading
import time
import zipfile
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
from demos.writing import saved
from demos.writing.article import Article
from models.backends.scripted import Scripted
from models.registry import Registry
from shared.engine import Cancel, Engine, ModelSpec, OnProgress
from shared.errors import RemoteFailure
from shared.settings import Settings
from tests.demos.pictures.samples import bomb
from tests.demos.writing.articles import picture_file
from tests.demos.writing.replaying import ARTICLE, READS, SEES, Question, Replaying, failing, nonsense, sensible
from tests.demos.writing.written_pages import Figures
from tests.no_files import NoFiles

FAILS = dataclasses.replace(READS, id="fails")
HALF = dataclasses.replace(READS, id="half")
MUDDLED = dataclasses.replace(READS, id="muddled")
MUTE = dataclasses.replace(READS, id="mute")
SLOW = dataclasses.replace(READS, id="slow", options={"replies": ["Bees live in hives.\n" * 2000], "delay": 0.05})
EMBEDS = dataclasses.replace(READS, id="embeds", capabilities=frozenset({"embed"}))
ANSWERS = {
    "fails": failing("article", RemoteFailure("The line is dead.", "Try again.")), "muddled": nonsense("places", "captions", "choice"),
    "half": failing("captions", RemoteFailure("The line is dead.", "Try again.")), "mute": lambda question: "",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Made:
    """What a call gave: the three files, and every state of its progress."""

    article: Article
    html: str
    zip: zipfile.ZipFile
    told: list[str]

    @property
    def figures(self) -> Figures:
        return Figures.of(self.html)


@dataclasses.dataclass(frozen=True)
class Served:
    url: str
    client: Client
    registry: Registry
    asked: list[Question]
    folder: Path

    def write(self, instruction: str | None = "Write about bees.", images: Sequence[Path] = (), **named: Any) -> Made:
        job = self.client.submit(instruction, [handle_file(str(path)) for path in images], api_name="/write", **named)
        job.result(120)
        states = job.outputs()
        files = {Path(path).name: Path(path).read_bytes() for path in states[-1][0]}
        assert list(files) == ["article.json", "article.html", "article.zip"] and not any(paths for paths, _ in states[:-1])
        zipped = zipfile.ZipFile(io.BytesIO(files["article.zip"]))
        assert zipped.testzip() is None
        return Made(saved.loads(files["article.json"]), files["article.html"].decode(), zipped, [told for _, told in states])

    def left(self) -> list[Path]:
        """Of the pictures, and of the folder of the files."""
        return [*self.folder.glob(f"{PREFIX}*/*/*"), *self.folder.glob("puyu-article-*")]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    asked: list[Question] = []

    def load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
        return Scripted(spec) if spec.options else Replaying(spec, ANSWERS.get(spec.id, sensible), asked, [])

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("tmp")
        patch.setattr(tempfile, "tempdir", str(folder))
        specs = [READS, SEES, FAILS, HALF, MUDDLED, MUTE, SLOW, EMBEDS]
        registry = Registry(specs, files=NoFiles(), load=load)
        settings = Settings(data_dir=str(tmp_path_factory.mktemp("data")), tabs="chat,writing", offline=True)
        program = App(registry, settings, "reads")
        page = app.build(program)
        port = app.free_port("127.0.0.1", 0)
        app.launch(page, program, port=port)
        got = str(tmp_path_factory.mktemp("got"))
        client = Client(f"http://127.0.0.1:{port}", verbose=False, analytics_enabled=False, download_files=got)
        try:
            yield Served(f"http://127.0.0.1:{port}", client, registry, asked, folder)
        finally:
            program.ends.close()
            registry.close()
            client.close()
            page.close(verbose=False)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"{number}.png" for number in range(8)]
    for number, path in enumerate(made):
        path.write_bytes(picture_file(number, "PNG"))
    return made


def test_an_instruction_becomes_three_files(served: Served, images: list[Path]) -> None:
    made = served.write(images=images, pictures=3)
    assert [section.source for section in made.article.sections] == ARTICLE.split("\n\n") and len(made.article.pictures) == 3
    assert all(picture.shown for picture in made.article.pictures) and made.article.record.instruction == "Write about bees."
    assert made.html.lower().startswith("<!doctype html>")
    found = made.figures
    assert len(found.pictures) == 3 and all(one.source.startswith("data:image/") and one.alt and one.credit for one in found.pictures)
    assert json.loads(made.zip.read("article.json")) == json.loads(saved.dumps(made.article))
    assert len([name for name in made.zip.namelist() if name.startswith("pictures/")]) == 3
    assert served.left() == []


def test_what_is_done_is_told_on_the_way(served: Served, images: list[Path]) -> None:
    told = served.write(images=images, pictures=3, model="sees").told
    assert told[-1] == "done" and len(told) > 1 and "article" in told[0]
    assert all(before != after for before, after in itertools.pairwise(told))


def test_without_pictures_of_one_s_own_and_without_network_it_is_finished_with_cards(served: Served) -> None:
    made = served.write("写一篇关于蜜蜂的文章", pictures=2, seed=7)
    assert made.article.language == "zh" and len(made.figures.pictures) == 2
    assert all(one.alt and one.credit for one in made.figures.pictures) and served.left() == []


def test_everything_that_can_be_given_reaches_the_model(served: Served, images: list[Path]) -> None:
    since = len(served.asked)
    made = served.write(
        images=images[:4], pictures=1, language="en", model="reads", eyes="sees", painter="", sources=["own"], tone="cheerful",
        length="short", materials="Bees dance.", seed=5,
    )  # fmt: skip
    first, *_, last = served.asked[since:]
    assert all(word in first.text for word in ("cheerful", "Bees dance.")) and (first.sampling.seed, first.sampling.max_tokens) == (5, 640)
    assert (first.model, last.model) == ("reads", "sees") and made.article.record.models == ("reads", "sees")
    assert {one.credit.source for picture in made.article.pictures for one in picture.candidates} == {"The author's own picture"}


def test_no_pictures_are_none(served: Served, images: list[Path]) -> None:
    assert served.write(images=images, pictures=0).article.pictures == ()
    unsearched = served.write(images=images, pictures=2, sources=[])
    assert len(unsearched.article.pictures) == 2 and unsearched.figures.pictures == []


def test_what_was_not_as_planned_is_told_with_the_files(served: Served, images: list[Path]) -> None:
    made = served.write(images=images, pictures=3, model="muddled")
    assert made.told[-1].startswith("done\n") and "places" in made.told[-1] and len(made.figures.pictures) == 3
    half = served.write(images=images, pictures=3, model="half")
    assert "The line is dead" in half.told[-1] and [section.source for section in half.article.sections] == ARTICLE.split("\n\n")


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"instruction": ""}, "no instruction"), ({"instruction": " \n"}, "no instruction"), ({"instruction": None}, "no instruction"),
        ({"instruction": "x" * 20_001}, "20,001 characters"), ({"materials": "x" * 100_001}, "100,001 characters"),
        ({"model": "gpt"}, "gpt"), ({"model": "embeds"}, "does not write"), ({"eyes": "reads"}, "does not choose pictures"),
        ({"painter": "reads"}, "does not draw"), ({"pictures": 51}, "51 pictures"), ({"pictures": -1}, "-1 pictures"),
        ({"language": "fr"}, "no language 'fr'"), ({"length": "epic"}, "no length 'epic'"), ({"tone": "x" * 201}, "201 characters"),
        ({"seed": -1}, "seed"), ({"seed": 2**40}, "seed"), ({"sources": ["flickr"]}, "list of picture sources"),
        ({"sources": "own"}, "list of picture sources"), ({"sources": {"own": 1}}, "list of picture sources"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_in_words(served: Served, images: list[Path], named: dict[str, Any], told: str) -> None:
    before = len(served.asked)
    with pytest.raises(AppError, match=told):
        served.write(images=images[:1], **named)
    assert len(served.asked) == before and served.left() == []


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("notes.txt", b"hello", "no picture that can be read"), ("a.svg", b"<svg xmlns='x'/>", "SVG"), ("bomb.png", bomb(), "pixels"),
        ("torn.png", picture_file(1, "PNG")[:60], "broken"), ("x.zip", b"PK\x03\x04", "no picture"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused_by_name(
    served: Served, images: list[Path], tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AppError, match=f"{name}.*{told}"):
        served.write(images=[images[0], tmp_path / name])
    assert served.left() == []


def test_a_model_that_fails_or_writes_nothing_is_told_and_leaves_nothing(served: Served, images: list[Path]) -> None:
    for model, told in (("fails", "The line is dead"), ("mute", "wrote nothing")):
        with pytest.raises(AppError, match=told):
            served.write(images=images[:2], model=model)
        assert served.left() == [] and not any(served.registry.loaded().values())


def test_a_file_that_is_no_upload_is_not_read(served: Served, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture_file(1, "PNG"))
    before = len(served.asked)
    for path in (str(secret), "/etc/passwd", "http://127.0.0.1:1/x.png"):
        files = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
        body = {"data": ["Bees", files, None, "", "", "", "", None, "", "", "", None]}
        asked = httpx.post(f"{served.url}/gradio_api/call/write", json=body, trust_env=False)
        if asked.status_code == 200:
            at = f"{served.url}/gradio_api/call/write/{asked.json()['event_id']}"
            with httpx.stream("GET", at, timeout=60, trust_env=False) as answer:
                assert "event: error" in list(answer.iter_lines())
    assert len(served.asked) == before and served.left() == []


def test_two_at_once_with_the_same_instruction_do_not_meet(served: Served, images: list[Path]) -> None:
    jobs = [
        served.client.submit("Write about bees.", [handle_file(str(path)) for path in mine], 3, api_name="/write", sources=["own"])
        for mine in (images[:4], images[4:])
    ]
    shown = []
    for job in jobs:
        job.result(120)
        article = saved.loads(Path(job.outputs()[-1][0][0]).read_bytes())
        shown.append({one.sha256 for picture in article.pictures for one in picture.candidates})
    assert len(shown[0]) == len(shown[1]) == 4 and not shown[0] & shown[1] and served.left() == []


def test_a_caller_who_leaves_stops_the_writing_and_leaves_nothing(served: Served, images: list[Path]) -> None:
    job = served.client.submit("Bees", [handle_file(str(images[0]))], api_name="/write", model="slow")
    until = time.monotonic() + 60
    while not any("words" in told for _, told in job.outputs()):
        assert not job.done() and time.monotonic() < until
        threading.Event().wait(0.02)
    assert served.left() and served.registry.loaded()["slow"]
    job.cancel()
    until = time.monotonic() + 60  # the whole text would take minutes
    while served.left() or served.registry.loaded()["slow"]:
        assert time.monotonic() < until
        threading.Event().wait(0.05)
