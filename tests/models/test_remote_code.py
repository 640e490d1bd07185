"""Code that comes with a model runs for the one catalog entry that opts in, at a revision that cannot move."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.backends import transformers_local
from models.download import Store
from models.remote_code import opted_in
from shared.engine import Cancel, ModelSpec, Source
from shared.errors import BadRequest, ModelUnavailable
from tests.models.architectures.test_loading import evil_folder
from tests.servers import Server

PINNED = Source("hf", "someone/model", revision="0123456789abcdef0123456789abcdef01234567")
SPEC = ModelSpec("evil", "transformers_local", (PINNED,), options={"trust_remote_code": True, "device": "cpu"})


def test_nobody_opts_in_by_default() -> None:
    assert not opted_in(ModelSpec("m", "transformers_local", (PINNED,)))
    assert not opted_in(replace(SPEC, options={"trust_remote_code": False}))
    assert opted_in(SPEC)


@pytest.mark.parametrize(
    "sources",
    [
        (), (replace(PINNED, revision=""),), (replace(PINNED, revision="main"),), (replace(PINNED, revision=PINNED.revision[:39]),),
        (replace(PINNED, revision=PINNED.revision + "0"),), (replace(PINNED, kind="modelscope"),), (PINNED, Source("path", "/somewhere")),
        (replace(PINNED, revision=PINNED.revision + "\n"),),
    ],
)  # fmt: skip
def test_an_opt_in_that_could_bring_other_code_is_refused(sources: tuple[Source, ...]) -> None:
    with pytest.raises(BadRequest, match="evil would run the code that comes with it"):
        opted_in(replace(SPEC, sources=sources))


@pytest.mark.parametrize("value", ["true", 1, None])
def test_an_opt_in_is_true_or_false(value: object) -> None:
    with pytest.raises(BadRequest, match="trust_remote_code is"):
        opted_in(replace(SPEC, options={"trust_remote_code": value}))


def test_the_engine_runs_it_for_that_entry_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    mark = tmp_path / "it-ran"
    folder = evil_folder(tmp_path / "model", mark)

    def load(spec: ModelSpec) -> None:
        transformers_local.load(spec, folder, on_progress=lambda progress: None, cancel=Cancel()).close()

    with pytest.raises(ModelUnavailable, match="describes no model this program knows"):
        load(replace(SPEC, options={"device": "cpu"}))
    assert not mark.exists()
    load(SPEC)
    assert mark.exists()


@pytest.mark.parametrize("source", [replace(PINNED, revision="main"), Source("modelscope", "org/evil", "f" * 40)])
def test_a_loose_opt_in_fetches_nothing(source: Source, tmp_path: Path) -> None:
    """With a server that would hand out everything: the entry is refused before it is asked."""
    with Server({}) as server:
        store = Store(tmp_path, hf_endpoint=server.url)
        with pytest.raises(BadRequest, match="would run the code that comes with it"):
            store.fetch(replace(SPEC, sources=(source,)), lambda progress: None, Cancel())
        assert not server.requests
