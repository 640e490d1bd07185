from __future__ import annotations

from pathlib import Path

import pytest

from models import catalog
from shared import chatml
from shared.engine import ModelSpec, Sampling, Source
from shared.errors import BadRequest, UnknownModel
from tests.models.geometry import GEOMETRY, measured, q4_k_m_bytes
from tests.models.picture_geometry import EMBEDDERS, PAINTERS, counted

FACTS = "image-facts"  # no language model
MINIMAL = """
[[model]]
id = "mine"
backend = "openai_remote"
[[model.source]]
kind = "endpoint"
ref = "http://127.0.0.1:23333/v1"
"""


def read(tmp_path: Path, text: str) -> tuple[ModelSpec, ...]:
    path = tmp_path / "mine.toml"
    path.write_text(text, "utf-8")
    return catalog.read(path)


def with_keys(keys: str) -> str:
    return MINIMAL.replace("[[model.source]]", f"{keys}\n[[model.source]]", 1)


def test_the_built_in_one() -> None:
    specs = catalog.read(catalog.BUILT_IN)
    default = catalog.find(specs, catalog.DEFAULT_MODEL)
    assert [source.kind for source in default.sources] == ["pypi", "hf"]
    assert len({source.sha256 for source in default.sources}) == 1 and len(default.sources[0].sha256) == 64
    assert specs[0] is default and default.verified
    assert all(spec.licence and spec.sources and spec.languages and spec.size_bytes for spec in specs)
    assert {spec.id for spec in specs if not spec.context} == {FACTS}  # it holds no conversation in mind
    assert all(spec.dialect in chatml.DIALECTS for spec in specs)


def test_what_was_not_seen_here_makes_no_promises() -> None:
    """No invented revision, no checksum of ours, and it says so."""
    specs = catalog.read(catalog.BUILT_IN)
    assert {spec.id for spec in specs if spec.verified} == {catalog.DEFAULT_MODEL, FACTS}
    for spec in specs:
        if spec.verified:
            continue
        assert not any(source.revision or source.sha256 for source in spec.sources)
        kinds = [source.kind for source in spec.sources]
        assert kinds == [kind for kind in ("hf", "modelscope", "openxlab") if kind in kinds] and kinds[0] == "hf"


@pytest.mark.parametrize("model_id", GEOMETRY)
def test_sizes_follow_from_the_geometry(model_id: str) -> None:
    """Parameters are counted in transformers' own classes, without memory for them."""
    spec, geometry = catalog.find(catalog.read(catalog.BUILT_IN), model_id), GEOMETRY[model_id]
    size = measured(geometry)
    assert (spec.parameters, spec.cache_bytes) == (size.parameters, geometry.text.cache_bytes)
    if spec.backend == "transformers_local":
        assert (spec.unquantized, spec.size_bytes) == (size.unquantized, 2 * size.parameters)
    elif "q4_k_m" in spec.sources[0].files[0].lower() and geometry.text.hidden % 256 == 0:
        twice = geometry.text.hidden * geometry.text.vocab * 4.5 / 8 if geometry.text.kind == "qwen2" and geometry.text.tied else 0
        assert 0 < spec.size_bytes - q4_k_m_bytes(geometry.text) - twice < 9_000_000  # the vocabulary and the norms


def test_every_model_of_the_catalog_has_a_geometry() -> None:
    assert {spec.id for spec in catalog.read(catalog.BUILT_IN)} == {*GEOMETRY, *EMBEDDERS, *PAINTERS, FACTS}


@pytest.mark.parametrize("model_id", EMBEDDERS)
def test_sizes_of_models_that_embed(model_id: str) -> None:
    spec = catalog.find(catalog.read(catalog.BUILT_IN), model_id)
    assert (spec.capabilities, spec.backend, spec.parameters) == ({"embed"}, "clip_embedder", sum(counted(EMBEDDERS[model_id])))
    assert spec.size_bytes == 4 * spec.parameters


@pytest.mark.parametrize("model_id", PAINTERS)
def test_sizes_of_models_that_draw(model_id: str) -> None:
    pytest.importorskip("diffusers", reason="drawing is an extra: requirements-painting.txt")
    spec, parts = catalog.find(catalog.read(catalog.BUILT_IN), model_id), counted(PAINTERS[model_id])
    assert (spec.capabilities, spec.backend, spec.parameters) == ({"draw"}, "diffusers_painter", sum(parts))
    assert spec.size_bytes == 2 * sum(parts) + (2 * parts[0] if model_id == "z-image-turbo" else 0)


def test_a_text_picker_does_not_offer_what_only_measures_pictures() -> None:
    spec = catalog.find(catalog.read(catalog.BUILT_IN), FACTS)
    assert spec.capabilities == {"image"} and spec.sources[0].kind == "pypi" and len(spec.sources[0].sha256) == 64


def test_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, MINIMAL) == (ModelSpec("mine", "openai_remote", (Source("endpoint", "http://127.0.0.1:23333/v1"),)),)


def test_everything(tmp_path: Path) -> None:
    keys = """
    capabilities = ["text", "prefill"]
    languages = ["en", "zh"]
    context = 4096
    verified = false
    parameters = 135
    unquantized = 7
    cache_bytes = 12
    options = {extra = "full", timeout = 3}
    sampling = {temperature = 1, top_k = 3, stop = ["x"]}
    """
    spec = read(tmp_path, with_keys(keys))[0]
    assert (spec.capabilities, spec.languages, spec.context) == (frozenset({"text", "prefill"}), ("en", "zh"), 4096)
    assert (spec.verified, spec.parameters, spec.unquantized, spec.cache_bytes) == (False, 135, 7, 12)
    assert spec.options == {"extra": "full", "timeout": 3}
    assert spec.sampling == Sampling(temperature=1, top_k=3, stop=("x",))


@pytest.mark.parametrize(
    "keys",
    [
        "frobnicate = 1", "context = true", "verified = 1", 'verified = "no"', "parameters = true",
        'context = "long"', 'capabilities = ["fly"]', 'capabilities = "text"', "capabilities = [[1]]",
        "languages = [1]", "options = 1", 'sampling = {temperature = "hot"}', "sampling = {frobnicate = 1}", "sampling = {top_p = 2}",
        "sampling = 1", 'sampling = {stop = "x"}',
    ],
)  # fmt: skip
def test_wrong_keys(tmp_path: Path, keys: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(tmp_path, with_keys(keys))
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "", "model = 1", "model = [1]", "x = 1", "[[model]]", MINIMAL + "[other]", MINIMAL.replace('"mine"', '"../mine"'),
        MINIMAL.replace('"mine"', '""'), MINIMAL.replace('"endpoint"', '"ftp"'), MINIMAL.replace('"endpoint"', "7"),
        MINIMAL.replace("ref =", "reference ="), MINIMAL + "files = [1]", MINIMAL.replace('"http://127.0.0.1:23333/v1"', '""'), "[[model]",
        *(MINIMAL.replace('"endpoint"', '"hf"').replace("http://127.0.0.1:23333/v1", ref) for ref in ("a/b/c", "a--b", "../a", "a b")),
    ],
)  # fmt: skip
def test_broken_files_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadRequest, match=r"mine\.toml"):
        read(tmp_path, text)


def test_the_same_id_twice(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="mine stands there twice"):
        read(tmp_path, MINIMAL + MINIMAL)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.toml", tmp_path):
        with pytest.raises(BadRequest) as caught:
            catalog.read(path)
        assert str(path) in caught.value.cause and "--models" in caught.value.remedy


def test_a_later_catalog_replaces_in_place() -> None:
    one, two, new, extra = (ModelSpec(name, backend, ()) for name, backend in (("a", "x"), ("b", "x"), ("a", "y"), ("c", "y")))
    assert catalog.merged((one, two), (new, extra)) == (new, two, extra)


def test_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(UnknownModel) as caught:
        catalog.find([ModelSpec("a", "x", ()), ModelSpec("b", "x", ())], "c")
    assert "a, b" in caught.value.remedy
