"""Models somebody adds: found by path or hub id, kept in a file that the catalog's reader reads, hostile answers refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import catalog
from models.added import Added, Choice, Wish
from models.catalog_text import written
from models.downloads.request import Limits
from shared.engine import ModelSpec, Sampling, Source
from shared.errors import BadRequest, ModelUnavailable
from tests.gguf_file import CHATML_TEMPLATE, METADATA
from tests.gguf_file import gguf as gguf_bytes
from tests.servers import Served, Server

COMMIT = "a" * 40
QUICK = Limits(connect=2, read=5, backoff=())
CONFIG = json.dumps({"max_position_embeddings": 2048, "architectures": ["LlamaForCausalLM"]})
TOKENIZER = json.dumps({"chat_template": CHATML_TEMPLATE})


def hub(files: dict[str, bytes], sizes: dict[str, int] | None = None) -> dict[str, Served]:
    """A Hugging Face hub with the one repository org/tiny."""
    siblings = [{"rfilename": name, "size": (sizes or {}).get(name, len(body))} for name, body in files.items()]
    listing = json.dumps({"sha": COMMIT, "siblings": siblings}).encode()
    served = {f"/org/tiny/resolve/{COMMIT}/{name}": Served(body) for name, body in files.items()}
    return {"/api/models/org/tiny/revision/main?blobs=true": Served(listing), **served}


def find(server: Server, tmp_path: Path, file: str = "", taken: tuple[ModelSpec, ...] = ()) -> ModelSpec | Choice:
    added = Added(tmp_path / "added.toml", hf_endpoint=server.url, limits=QUICK)
    return added.find(Wish("org/tiny", "hf", "", file), paths=False, taken=taken)


def spec_of(server: Server, tmp_path: Path, **more: Any) -> ModelSpec:
    found = find(server, tmp_path, **more)
    assert isinstance(found, ModelSpec)
    return found


def test_safetensors_of_a_hub_are_described_by_their_small_files(tmp_path: Path) -> None:
    files = {
        "config.json": CONFIG.encode(),
        "tokenizer_config.json": TOKENIZER.encode(),
        "model.safetensors": bytes(5000),
        "modeling.py": b"evil",
    }
    with Server(hub(files)) as server:
        spec = spec_of(server, tmp_path)
        assert not server.asked(f"/org/tiny/resolve/{COMMIT}/model.safetensors")
    assert (spec.id, spec.backend, spec.dialect, spec.context) == ("tiny", "transformers_local", "chatml", 2048)
    assert spec.sources == (Source("hf", "org/tiny", COMMIT),)
    assert spec.size_bytes == 5000 + len(CONFIG) + len(TOKENIZER)


def test_a_gguf_of_a_hub_is_described_by_its_beginning(tmp_path: Path) -> None:
    header = gguf_bytes({**METADATA, "llama.context_length": 1024})
    body = header + bytes(3 << 20)
    with Server(hub({"tiny.Q4_K_M.gguf": body, "mmproj-another.gguf": b"x"})) as server:
        spec = spec_of(server, tmp_path)
    assert "image" not in spec.capabilities
    assert (spec.id, spec.backend, spec.context, spec.size_bytes) == ("tiny.Q4_K_M", "llama_cpp", 1024, len(body))
    assert spec.sources == (Source("hf", "org/tiny", COMMIT, ("tiny.Q4_K_M.gguf",)),)


def test_a_gguf_of_a_hub_comes_with_its_projector(tmp_path: Path) -> None:
    body = gguf_bytes(METADATA)
    files = {"tiny-Q8_0.gguf": body, "tiny-Q4_K_M.gguf": body, "mmproj-tiny-f16.gguf": bytes(900), "mmproj-tiny-Q8_0.gguf": bytes(700),
             "other/mmproj-tiny-Q4_K_M.gguf": b"x"}  # fmt: skip
    with Server(hub(files)) as server:
        eight, four = (spec_of(server, tmp_path, file=f"tiny-{name}.gguf") for name in ("Q8_0", "Q4_K_M"))
        assert not [path for path in server.requests if "mmproj" in str(path)]
    assert eight.sources[0].files == ("tiny-Q8_0.gguf", "mmproj-tiny-Q8_0.gguf") and eight.size_bytes == len(body) + 700
    assert four.sources[0].files == ("tiny-Q4_K_M.gguf", "mmproj-tiny-f16.gguf")
    assert "image" in eight.capabilities and "image" in four.capabilities


def test_of_several_files_one_is_chosen_smallest_first(tmp_path: Path) -> None:
    body = gguf_bytes(METADATA)
    files = {"tiny.Q8.gguf": body, "tiny.Q4.gguf": body, "big-00001-of-00002.gguf": body, "big-00002-of-00002.gguf": b"x",
             "half-00001-of-00002.gguf": body}  # fmt: skip
    sizes = {"tiny.Q8.gguf": 800, "tiny.Q4.gguf": 400, "big-00001-of-00002.gguf": 900, "big-00002-of-00002.gguf": 900}
    with Server(hub(files, sizes)) as server:
        assert find(server, tmp_path) == Choice((("tiny.Q4.gguf", 400), ("tiny.Q8.gguf", 800), ("big-00001-of-00002.gguf", 1800)))
        assert spec_of(server, tmp_path, file="tiny.Q8.gguf").sources[0].files == ("tiny.Q8.gguf",)
        both = spec_of(server, tmp_path, file="big-00001-of-00002.gguf")
        with pytest.raises(BadRequest, match="has no file"):
            find(server, tmp_path, file="../../etc/passwd")
    assert both.sources[0].files == ("big-00001-of-00002.gguf", "big-00002-of-00002.gguf") and both.size_bytes == 1800


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        ({"pytorch_model.bin": b"x", "config.json": b"{}"}, "pickles"),
        ({"README.md": b"x"}, "no weights"),
        ({"model.safetensors": b"x", "config.json": b"{", "tokenizer_config.json": TOKENIZER.encode()}, "config.json is no valid JSON"),
        ({"x.gguf": b"not a model at all"}, "not a usable GGUF file"),
    ],
)
def test_a_repository_that_is_no_model_says_why(tmp_path: Path, files: dict[str, bytes], cause: str) -> None:
    with Server(hub(files)) as server, pytest.raises(ModelUnavailable, match=cause) as failure:
        find(server, tmp_path)
    assert failure.value.cause.startswith("org/tiny cannot be added")


def test_a_file_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with Server(hub({"../../x.gguf": gguf_bytes(METADATA)})) as server, pytest.raises((BadRequest, ModelUnavailable)):
        find(server, tmp_path)


def test_the_same_id_gets_a_number_and_the_same_model_is_refused(tmp_path: Path) -> None:
    with Server(hub({"tiny.gguf": gguf_bytes(METADATA)})) as server:
        spec = spec_of(server, tmp_path, taken=(ModelSpec("tiny", "llama_cpp", (Source("hf", "other/tiny"),)),))
        assert spec.id == "tiny-2"
        with pytest.raises(BadRequest, match="already, as tiny-2"):
            find(server, tmp_path, taken=(spec,))


@pytest.mark.parametrize(
    "ref", ["", "tiny", "/etc/passwd", "~/x", "../up/x", "org/name/more", "org/na me", "http://host/x", "org/..", "-a/b"]
)
def test_on_a_page_for_others_only_hub_ids_count(tmp_path: Path, ref: str) -> None:
    with pytest.raises(BadRequest, match="no id of a hub"):
        Added(tmp_path / "added.toml").find(Wish(ref), paths=False, taken=())


@pytest.mark.parametrize("ref", ["~nobody-of-that-name/x", "a" * 300, "x/" + "a" * 300 + "/y", "x\0y", "no/such"])
def test_a_path_that_leads_nowhere_is_told(tmp_path: Path, ref: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Server() as server, pytest.raises((BadRequest, ModelUnavailable), match=r"no model|cannot be"):
        Added(tmp_path / "added.toml", hf_endpoint=server.url, limits=QUICK).find(Wish(ref), paths=True, taken=())


def test_a_template_that_is_no_text_is_told(tmp_path: Path) -> None:
    for name, body in {"config.json": CONFIG.encode(), "chat_template.jinja": b"\xff", "model.safetensors": b""}.items():
        (tmp_path / name).write_bytes(body)
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        Added(tmp_path / "added.toml").find(Wish(str(tmp_path)), paths=True, taken=())


def test_offline_no_hub_is_asked(tmp_path: Path) -> None:
    with Server() as server, pytest.raises(ModelUnavailable, match="network is switched off"):
        Added(tmp_path / "added.toml", offline=True, hf_endpoint=server.url).find(Wish("org/tiny"), paths=True, taken=())
    assert server.requests == []


@pytest.mark.parametrize("name", ["tiny.gguf", "tokenizer_config.json"])
@pytest.mark.parametrize("trouble", [Served(status=503), Served(b"x" * 999, cuts=[9] * 9)])
def test_a_hub_in_trouble_is_told(tmp_path: Path, name: str, trouble: Served) -> None:
    files = {"tiny.gguf": gguf_bytes(METADATA)}
    if name != "tiny.gguf":
        files = {"config.json": CONFIG.encode(), "tokenizer_config.json": TOKENIZER.encode(), "model.safetensors": b""}
    with Server(hub(files)) as server:
        server.files[f"/org/tiny/resolve/{COMMIT}/{name}"] = trouble
        with pytest.raises(ModelUnavailable, match=r"org/tiny cannot be added: .*(503|peer closed)"):
            find(server, tmp_path)


def test_a_hub_that_is_busy_for_a_moment_is_asked_again(tmp_path: Path) -> None:
    with Server(hub({"tiny.gguf": gguf_bytes(METADATA)})) as server:
        server.files[f"/org/tiny/resolve/{COMMIT}/tiny.gguf"].failures = [503, 429]
        added = Added(tmp_path / "added.toml", hf_endpoint=server.url, limits=Limits(backoff=(0.01, 0.01)))
        assert isinstance(added.find(Wish("org/tiny"), paths=False, taken=()), ModelSpec)


def test_ids_that_are_one_folder_to_some_systems_are_not_two(tmp_path: Path) -> None:
    there = ModelSpec("TINY", "llama_cpp", (Source("path", "/x"),))
    with Server(hub({"tiny.gguf": gguf_bytes(METADATA)})) as server:
        assert spec_of(server, tmp_path, taken=(there,)).id == "tiny-2"


def test_what_was_added_is_there_again_and_a_removed_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "added.toml"
    added, specs = Added(path), [ModelSpec(name, "llama_cpp", (Source("hf", f"org/{name}"),)) for name in ("a", "b")]
    assert added.specs() == ()
    for spec in specs:
        added.add(spec)
    assert Added(path).specs() == tuple(specs)
    with pytest.raises(BadRequest, match="already"):
        added.add(specs[0])
    assert added.remove("a") and not added.remove("a")
    assert Added(path).ids() == {"b"}
    assert added.remove("b") and not path.exists()
    assert not list(path.parent.iterdir())


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SOURCES = st.builds(Source, kind=st.just("path"), ref=TEXT.filter(bool), revision=TEXT, files=st.lists(TEXT, max_size=3).map(tuple))
SPECS = st.builds(
    ModelSpec,
    id=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
    backend=TEXT.filter(bool),
    sources=st.lists(SOURCES, min_size=1, max_size=2).map(tuple),
    capabilities=st.frozensets(st.sampled_from(["text", "image", "tools"])),
    default_system=TEXT,
    size_bytes=st.integers(0, 10**13),
    languages=st.lists(TEXT, max_size=2).map(tuple),
    verified=st.booleans(),
    sampling=st.builds(Sampling, temperature=st.floats(0, 5), stop=st.lists(TEXT.filter(bool), max_size=2).map(tuple)),
    options=st.dictionaries(TEXT, st.one_of(TEXT, st.integers(-10, 10), st.booleans(), st.lists(TEXT, max_size=2)), max_size=2),
)  # fmt: skip


@given(SPECS)
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, spec: ModelSpec) -> None:
    path = tmp_path_factory.mktemp("kept") / "added.toml"
    path.write_text(written([spec]), "utf-8", newline="")
    assert catalog.read(path) == (spec,)


def test_half_a_character_cannot_be_kept() -> None:
    with pytest.raises(BadRequest, match="no text"):
        written([ModelSpec("a", "llama_cpp", (Source("path", "/x\udcff"),))])
