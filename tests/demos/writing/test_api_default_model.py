"""`/write` with the model that everybody has, on the CPU and without network: one call, and the article is finished and illustrated."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import skimage
from gradio_client import Client, handle_file

from demos import app
from demos.pictures.shelf import PREFIX
from demos.tab import App
from demos.writing import saved
from demos.writing.article import Article
from models.download import Store
from models.registry import Registry
from shared.engine import ModelSpec
from shared.settings import Settings
from tests.demos.writing.written_pages import Figures

pytestmark = pytest.mark.model
PHOTOGRAPHS = {
    "rocket launch.jpg": "rocket.jpg", "astronaut Eileen Collins.png": "astronaut.png", "the Moon.png": "moon.png",
    "galaxies in deep space.jpg": "hubble_deep_field.jpg", "cup of coffee.png": "coffee.png", "cat.png": "chelsea.png",
}  # fmt: skip
FITTING = "Write about space flight: a rocket launch, an astronaut, the Moon, galaxies, a coffee on board, and a cat that watches."


@pytest.fixture(scope="module")
def client(default_spec: ModelSpec, models_dir: Path, default_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("tmp")))
        registry = Registry([default_spec], files=Store(models_dir))
        settings = Settings(data_dir=str(tmp_path_factory.mktemp("data")), tabs="writing", offline=True)
        program = App(registry, settings, default_spec.id)
        page = app.build(program)
        port = app.free_port("127.0.0.1", 0)
        app.launch(page, program, port=port)
        got = str(tmp_path_factory.mktemp("got"))
        client = Client(f"http://127.0.0.1:{port}", verbose=False, analytics_enabled=False, download_files=got)
        try:
            yield client
        finally:
            program.ends.close()
            registry.close()
            client.close()
            page.close(verbose=False)


def write(client: Client, instruction: str, images: Sequence[Path], pictures: int) -> tuple[Article, Figures]:
    """One call, with the sampling's seed fixed; everything that every article of it must be."""
    job = client.submit(instruction, [handle_file(str(path)) for path in images], pictures, length="short", seed=7, api_name="/write")
    job.result(1800)
    files = [Path(path) for path in job.outputs()[-1][0]]
    article, found = saved.loads(files[0].read_bytes()), Figures.of(files[1].read_text("utf-8"))
    assert article.length > 50 and 2 <= len(article.pictures) == len(found.pictures) <= pictures, "as many as a short article has room for"
    assert all(one.source.startswith("data:image/") and one.alt.strip() and one.words and one.credit for one in found.pictures)
    assert article.record.models == ("smollm2-135m-instruct",) and article.record.instruction == instruction
    with zipfile.ZipFile(io.BytesIO(files[2].read_bytes())) as packed:
        assert packed.testzip() is None and sum(name.startswith("pictures/") for name in packed.namelist()) == len(found.pictures)
    assert list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*/*/*")) == []
    return article, found


def test_an_article_is_written_and_illustrated_in_one_call(client: Client) -> None:
    article, found = write(client, "Write about honey bees.", [], 2)
    assert len({one.source for one in found.pictures}) == 2
    assert all(picture.shown and picture.shown.credit.licence for picture in article.pictures)


def test_six_fitting_photographs_are_used(client: Client, tmp_path: Path) -> None:
    photographs = []
    for name, source in PHOTOGRAPHS.items():
        photographs.append(tmp_path / name)
        photographs[-1].write_bytes((Path(skimage.__file__).parent / "data" / source).read_bytes())
    article, _ = write(client, FITTING, photographs, 6)
    used = [one.shown.credit.title for one in article.pictures if one.shown and one.shown.credit.source == "The author's own picture"]
    assert 2 * len(used) >= len(article.pictures) and len(set(used)) == len(used)
