"""Which files a model is on disk: paths, folders, whole repositories, the Hub's cache, deleting."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import filelock
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.download import Store
from models.downloads.landing import landing_names
from shared.engine import Cancel, ModelSpec, Source
from shared.errors import BadRequest, ModelUnavailable
from tests.servers import Served, Server

LEFT_OUT = (".gitattributes", "pytorch_model.bin", "modeling_tiny.py", "onnx/model.onnx", "README.md", "runs/state.json")
FILES = {"config.json": b"{}", "model.safetensors": b"weights", **dict.fromkeys(LEFT_OUT, b"no")}
LISTED = ("config.json", "model.safetensors")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy", "HF_HUB_OFFLINE", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    served = {f"/org/tiny/resolve/abc/{name}": Served(body) for name, body in FILES.items()}
    listing = json.dumps({"siblings": [{"rfilename": name} for name in FILES]}).encode()
    with Server({**served, "/api/models/org/tiny/revision/abc?blobs=true": Served(listing)}) as running:
        yield running


def spec(*sources: Source) -> ModelSpec:
    return ModelSpec("tiny", "transformers_local", sources)


def fetch(store: Store, model: ModelSpec) -> Path:
    return store.fetch(model, lambda progress: None, Cancel())


@pytest.mark.parametrize("listed", [LISTED, ()])
def test_a_folder_is_there_when_all_its_files_are(tmp_path: Path, server: Server, listed: tuple[str, ...]) -> None:
    model, store = spec(Source("hf", "org/tiny", "abc", listed)), Store(tmp_path, hf_endpoint=server.url)
    weights = server.files.pop("/org/tiny/resolve/abc/model.safetensors")
    with pytest.raises(ModelUnavailable, match="404"):
        fetch(store, model)
    assert store.find(model) is None
    server.files["/org/tiny/resolve/abc/model.safetensors"] = weights
    folder = fetch(store, model)
    assert folder == store.find(model) == tmp_path / "tiny"
    assert {name: (folder / name).read_bytes() for name in LISTED} == {name: FILES[name] for name in LISTED}
    assert not any((folder / name).exists() for name in LEFT_OUT)
    (folder / "config.json").unlink()
    assert store.find(model) is None
    server.requests.clear()
    assert fetch(store, model) == folder
    assert [request.path for request in server.requests if request.method == "GET" and "resolve" in request.path] == [
        "/org/tiny/resolve/abc/config.json"
    ]


def test_a_path_source_is_used_where_it_is(tmp_path: Path) -> None:
    weights = tmp_path / "mine.gguf"
    model = spec(Source("path", str(weights)))
    store = Store(tmp_path / "root")
    assert store.find(model) is None
    weights.write_bytes(b"x")
    assert store.find(model) == fetch(store, model) == weights
    assert store.delete(model) is False and weights.exists()


def test_a_path_that_cannot_be_looked_at(tmp_path: Path) -> None:
    assert Store(tmp_path).find(spec(Source("path", "~nobody-of-that-name/m.gguf"))) is None
    with pytest.raises(ModelUnavailable, match=r"tiny cannot be looked for: .*too long"):
        Store(tmp_path).find(spec(Source("path", "/" + "a" * 300)))


def test_a_file_put_there_by_hand_is_found(tmp_path: Path) -> None:
    model = spec(Source("pypi", "tiny==1", files=("pkg/data/weights.gguf",)))
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "weights.gguf").write_bytes(b"x")
    assert Store(tmp_path).find(model) == tmp_path / "tiny" / "weights.gguf"


def test_delete_takes_what_was_downloaded(tmp_path: Path, server: Server) -> None:
    model, store = spec(Source("hf", "org/tiny", "abc", LISTED)), Store(tmp_path, hf_endpoint=server.url)
    assert store.delete(model) is False
    fetch(store, model)
    with filelock.FileLock(tmp_path / ".tiny.lock"), pytest.raises(BadRequest, match="being downloaded"):
        store.delete(model)
    assert store.delete(model) is True
    assert store.find(model) is None and not (tmp_path / "tiny").exists()


def test_what_a_link_leads_to_is_not_deleted(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "weights.gguf").write_bytes(b"x")
    (tmp_path / "tiny").symlink_to(elsewhere)
    with pytest.raises(BadRequest, match="is a link") as failure:
        Store(tmp_path).delete(spec(Source("hf", "org/tiny", "abc", LISTED)))
    assert failure.value.remedy and list(elsewhere.iterdir())


def test_what_cannot_be_deleted_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny").mkdir()

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))  # as Windows does while a file is open

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(BadRequest, match="cannot be deleted: Permission denied"):
        Store(tmp_path).delete(spec(Source("hf", "org/tiny", "abc", LISTED)))


def test_a_file_where_the_folder_should_be(tmp_path: Path, server: Server) -> None:
    model, store = spec(Source("hf", "org/tiny")), Store(tmp_path, hf_endpoint=server.url)
    (tmp_path / "tiny").write_text("x")
    assert store.find(model) is None and store.origin(model) == "" and store.delete(model) is False
    with pytest.raises(ModelUnavailable, match="cannot be stored"):
        fetch(store, model)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelUnavailable, match="cannot be stored") as failure:
        fetch(Store(tmp_path / "file", hf_endpoint=server.url), spec(Source("hf", "org/tiny", "abc", LISTED)))
    assert "--models-dir" in failure.value.remedy


def test_the_hubs_cache_counts(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--org--tiny" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for name in LISTED:
        (snapshot / name).write_bytes(FILES[name])
    program = f"""
from pathlib import Path
from models.download import Store
from shared.engine import ModelSpec, Source
store = Store(Path({str(tmp_path / "root")!r}), offline=True)
for files in ({LISTED!r}, {LISTED[:1]!r}, ("config.json", "missing.bin"), ()):
    print(store.find(ModelSpec("tiny", "x", (Source("hf", "org/tiny", "abc", files),))))
snapshot = Path({str(snapshot)!r})
(snapshot / "model.safetensors").rename(snapshot / "one.safetensors")
(snapshot / "model.safetensors.index.json").write_text('{{"weight_map": {{"a": "one.safetensors", "b": "two.safetensors"}}}}')
print(store.find(ModelSpec("tiny", "x", (Source("hf", "org/tiny", "abc"),))))
(snapshot / "two.safetensors").write_bytes(b"")
spec = ModelSpec("tiny", "x", (Source("hf", "org/tiny", "abc"),))
print(store.find(spec), store.origin(spec).replace(" ", "_"))
"""
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "PYTHONPATH": str(Path(__file__).parents[2])}
    output = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True).stdout
    assert output.split() == [
        str(snapshot), str(snapshot / "config.json"), "None", str(snapshot), "None", str(snapshot), "hf_(its_cache)"
    ]  # fmt: skip


def test_an_impossible_repository_name_is_the_catalogs_fault(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="a/b/c") as failure:
        Store(tmp_path).find(spec(Source("hf", "a/b/c", files=("x.gguf",))))
    assert "catalog" in failure.value.remedy


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../../x", "..", "", ".hidden", "C:\\x", "a\\..\\x", "sub/.hidden", "a\0b", "a\nb", "\ud800"]
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        landing_names([name])


@given(st.lists(st.text(st.sampled_from("ab./\\:~ \0"), max_size=9), min_size=1, max_size=4))
def test_what_lands_lands_inside(names: list[str]) -> None:
    try:
        landed = landing_names(names)
    except BadRequest:
        return
    assert len(landed) == len(names)
    for name in landed:
        inside = PurePosixPath(os.path.normpath("/root/tiny/" + name))
        assert inside.is_relative_to("/root/tiny") and inside != PurePosixPath("/root/tiny")


def test_the_common_folder_is_left_out() -> None:
    assert landing_names(["pkg/data/a.gguf"]) == ["a.gguf"]
    assert landing_names(["pkg/a.json", "pkg/sub/b.bin"]) == ["a.json", "sub/b.bin"]
