"""Whole repositories from each hub, over real sockets that are cut, slow, or lie; what lands is whole, or nothing does."""

from __future__ import annotations

import importlib.util
import json
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from models import sources
from models.download import Store
from models.downloads.request import Limits
from shared.engine import Cancel, Cancelled, ModelSpec, Progress, Source, SourceKind
from shared.errors import BadRequest, ModelUnavailable
from tests.hubs import COMMIT, HUBS, REF, Repository
from tests.servers import Served, Server

WEIGHTS = "model.safetensors"
FILES = {"config.json": b'{"model_type": "tiny"}', "tokenizer.json": b"{}", WEIGHTS: random.Random(4).randbytes(300_000)}
LEFT_OUT = {"README.md": b"#", "modeling_tiny.py": b"raise SystemExit", "pytorch_model.bin": b"pickle", "onnx/model.onnx": b"no"}
QUICK = Limits(connect=2.0, read=10.0, backoff=(0.01, 0.01))
WITH_CHECKSUMS = ["hf", "modelscope"]
needs_client = pytest.mark.skipif(
    importlib.util.find_spec("modelscope_hub") is None, reason="its client is not installed: requirements-modelscope.txt"
)
each_hub = pytest.mark.parametrize("kind", ["hf", pytest.param("modelscope", marks=needs_client), "openxlab"])
with_checksums = pytest.mark.parametrize("kind", ["hf", pytest.param("modelscope", marks=needs_client)])


def repository(kind: str, server: Server, files: dict[str, bytes] | None = None) -> Repository:
    return HUBS[kind](server, files or {**FILES, **LEFT_OUT}, large=(WEIGHTS,))


def spec(*kinds: SourceKind) -> ModelSpec:
    return ModelSpec("tiny", "transformers_local", tuple(Source(kind, REF) for kind in kinds))


def store(root: Path, server: Server, limits: Limits = QUICK) -> Store:
    return Store(root, hf_endpoint=server.url, limits=limits, order=("hf", "modelscope", "openxlab"))


def fetch(root: Path, server: Server, *kinds: SourceKind, limits: Limits = QUICK) -> tuple[Path, list[Progress]]:
    seen: list[Progress] = []
    return store(root, server, limits).fetch(spec(*kinds), seen.append, Cancel()), seen


def until(condition: Callable[[], bool]) -> bool:
    """Wait for `condition`; False when it stays false for 20 s."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.02) for _ in range(1000))


def on_disk(root: Path) -> dict[str, bytes]:
    """Everything that looks like a file of the model."""
    folder = root / "tiny"
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@each_hub
def test_a_repository_lands_without_code_and_pickles(tmp_path: Path, server: Server, kind: SourceKind) -> None:
    repository(kind, server)
    folder, seen = fetch(tmp_path, server, kind)
    assert on_disk(tmp_path) == FILES and folder == tmp_path / "tiny"
    assert seen[-1].done == seen[-1].total == sum(map(len, FILES.values()))
    assert seen[-1].detail == store(tmp_path, server).origin(spec(kind)) == f"{kind} (127.0.0.1)"
    asked = len(server.requests)
    assert fetch(tmp_path, server, kind)[0] == folder and len(server.requests) == asked


@with_checksums
def test_the_total_is_known_from_the_first_byte_on(tmp_path: Path, server: Server, kind: SourceKind) -> None:
    repository(kind, server)
    _, seen = fetch(tmp_path, server, kind)
    assert {progress.total for progress in seen[1:]} == {sum(map(len, FILES.values()))}


@each_hub
def test_a_cut_file_is_resumed(tmp_path: Path, server: Server, kind: SourceKind) -> None:
    weights = repository(kind, server).served(WEIGHTS)
    weights.cuts = [100_000, 50_000]
    fetch(tmp_path, server, kind)
    assert on_disk(tmp_path) == FILES
    ranges = [request.headers["range"] for request in server.requests if "range" in request.headers]
    assert set(ranges) == {"bytes=100000-", "bytes=150000-"}


@each_hub
def test_a_lie_about_where_a_range_begins_lands_nothing_wrong(tmp_path: Path, server: Server, kind: SourceKind) -> None:
    weights = repository(kind, server).served(WEIGHTS)
    weights.cuts, weights.shift = [100_000], 7
    fetch(tmp_path, server, kind)
    assert on_disk(tmp_path) == FILES


@each_hub
def test_stop_ends_a_silent_file_within_a_second_and_the_next_try_goes_on(tmp_path: Path, server: Server, kind: SourceKind) -> None:
    repo = repository(kind, server)
    repo.served(WEIGHTS).stall_after = 100_000
    cancel, raised = Cancel(), []

    def run() -> None:
        try:
            store(tmp_path, server).fetch(spec(kind), lambda progress: None, cancel)
        except (Cancelled, ModelUnavailable) as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert server.stalled.wait(20) and until(lambda: any(part.stat().st_size > 50_000 for part in tmp_path.rglob(".*.part")))
    cancel.set()
    thread.join(8)  # it stays silent for 30 s: only Stop can have ended it
    assert not thread.is_alive() and isinstance(raised[0], Cancelled)
    assert WEIGHTS not in on_disk(tmp_path) and store(tmp_path, server).find(spec(kind)) is None
    repo.served(WEIGHTS).stall_after = None
    server.requests.clear()
    fetch(tmp_path, server, kind)
    assert on_disk(tmp_path) == FILES
    assert any(request.headers.get("range", "").startswith("bytes=") for request in server.requests)


@each_hub
def test_stop_ends_a_silent_listing(tmp_path: Path, server: Server, kind: SourceKind) -> None:
    repo = repository(kind, server)
    server.files[repo.listing].stall_after = -1
    cancel, raised = Cancel(), []

    def run() -> None:
        try:
            store(tmp_path, server).fetch(spec(kind), lambda progress: None, cancel)
        except (Cancelled, ModelUnavailable) as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert server.stalled.wait(20)
    cancel.set()
    thread.join(8)
    assert not thread.is_alive() and isinstance(raised[0], Cancelled)


@with_checksums
@pytest.mark.parametrize(
    ("lie", "cause"),
    [
        (Served(random.Random(5).randbytes(300_000)), "SHA-256"),
        (Served(FILES[WEIGHTS] + b"more"), "300,004 bytes instead of 300,000"),
        (Served(FILES[WEIGHTS][:-4]), "299,996 bytes instead of 300,000"),
        (Served(b"<!doctype html>", headers={"Content-Type": "text/html"}), "web page"),
        (Served(status=403), "answers 403"),
        (Served(status=404), "answers 404"),
        (Served(status=429), "answers 429"),
        (Served(status=500), "answers 500"),
        (Served(redirect="file:///etc/passwd"), "file|redirect|scheme|protocol"),
    ],
    ids=["other bytes", "longer", "shorter", "a web page", "403", "404", "429", "500", "redirected to a file"],
)
def test_a_lie_about_the_weights_lands_no_weights(tmp_path: Path, server: Server, kind: SourceKind, lie: Served, cause: str) -> None:
    repo = repository(kind, server)
    server.files[repo.bytes_of[WEIGHTS]] = lie
    with pytest.raises(ModelUnavailable, match=cause):
        fetch(tmp_path, server, kind)
    assert WEIGHTS not in on_disk(tmp_path) and store(tmp_path, server).find(spec(kind)) is None
    repository(kind, server)
    fetch(tmp_path, server, kind)
    assert on_disk(tmp_path) == FILES


@each_hub
@pytest.mark.parametrize(
    "answer",
    [
        Served(status=401), Served(status=403), Served(status=404), Served(status=429), Served(status=500), Served(b"not json"),
        Served(b""), Served(b"[]"), Served(b"{}"), Served(b"null"), Served(b'{"siblings": 3, "Data": 3, "msgCode": "10000", "data": 3}'),
        Served(b'{"Code": 10010205001, "Success": false, "Message": "gone", "Data": null, "msgCode": "A1", "msg": "gone"}'),
        Served(b"<html></html>", headers={"Content-Type": "text/html"}), Served(b"{}", length=4000),
    ],
    ids=["401", "403", "404", "429", "500", "text", "nothing", "list", "empty", "null", "numbers", "refused", "a web page", "cut"],
)  # fmt: skip
def test_a_listing_that_is_none_says_so_and_lands_nothing(tmp_path: Path, server: Server, kind: SourceKind, answer: Served) -> None:
    server.files[repository(kind, server).listing] = answer
    with pytest.raises(ModelUnavailable, match=rf"{kind} \(org/tiny\): \S"):
        fetch(tmp_path, server, kind)
    assert on_disk(tmp_path) == {}


@each_hub
@pytest.mark.parametrize("name", ["../model.safetensors", "/model.safetensors", "C:\\model.safetensors"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, server: Server, kind: SourceKind, name: str) -> None:
    repository(kind, server, {"config.json": b"{}", name: b"evil", WEIGHTS: b"good"})
    try:
        fetch(tmp_path / "root", server, kind)
    except (ModelUnavailable, BadRequest):
        pass
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"evil"] == []


def test_a_busy_hub_is_asked_again(tmp_path: Path, server: Server) -> None:
    repo = repository("hf", server)
    server.files[repo.listing].failures = [429]
    fetch(tmp_path, server, "hf")
    assert on_disk(tmp_path) == FILES and len(server.asked(repo.listing)) == 2


@needs_client
def test_the_next_hub_goes_on_where_the_first_one_broke_off(tmp_path: Path, server: Server) -> None:
    first = repository("hf", server)
    first.served(WEIGHTS).cuts, first.served(WEIGHTS).failures = [100_000], []
    server.files[first.bytes_of[WEIGHTS]] = Served(FILES[WEIGHTS], cuts=[100_000] * 9, ranges=False)
    second = repository("modelscope", server)
    fetch(tmp_path, server, "hf", "modelscope")
    assert on_disk(tmp_path) == FILES
    assert [request.headers.get("range") for request in server.asked(second.bytes_of[WEIGHTS])] == ["bytes=100000-"]
    assert server.asked(second.bytes_of["config.json"]) == []  # it had come, and its checksum is the same
    assert store(tmp_path, server).origin(spec("hf", "modelscope")) == "hf (127.0.0.1), modelscope (127.0.0.1)"


def test_files_of_another_commit_are_not_mixed_in(tmp_path: Path, server: Server) -> None:
    old = repository("hf", server)
    server.files[old.bytes_of[WEIGHTS]] = Served(status=404)
    with pytest.raises(ModelUnavailable):
        fetch(tmp_path, server, "hf")
    assert on_disk(tmp_path)["config.json"] == FILES["config.json"]
    changed = {**FILES, "config.json": b'{"model_type": "slim"}'}
    del changed["tokenizer.json"]
    HUBS["hf"](server, changed, large=(WEIGHTS,), commit="d" * 40)
    fetch(tmp_path, server, "hf")
    assert on_disk(tmp_path) == changed


def test_pickles_do_not_come_by_themselves(tmp_path: Path, server: Server) -> None:
    """For a model that opted in: tests/models/test_pickles.py."""
    repo = repository("hf", server, {"config.json": b"{}", "pytorch_model.bin": b"1"})
    with pytest.raises(ModelUnavailable, match="pickles"):
        fetch(tmp_path, server, "hf")
    assert on_disk(tmp_path) == {} and server.asked(repo.bytes_of["pytorch_model.bin"]) == []


@each_hub
def test_one_named_file(tmp_path: Path, server: Server, kind: SourceKind) -> None:
    files = {"tiny-q4_k_m.gguf": FILES[WEIGHTS], "tiny-q8_0.gguf": b"other"}
    repo = HUBS[kind](server, files)
    if kind == "hf":  # asked for by its branch, not by the commit of a listing
        server.files[f"/{REF}/resolve/main/tiny-q4_k_m.gguf"] = repo.served("tiny-q4_k_m.gguf")
    model = ModelSpec("tiny", "llama_cpp", (Source(kind, REF, files=("tiny-q4_k_m.gguf",)),))
    assert store(tmp_path, server).fetch(model, lambda progress: None, Cancel()) == tmp_path / "tiny" / "tiny-q4_k_m.gguf"
    assert on_disk(tmp_path) == {"tiny-q4_k_m.gguf": FILES[WEIGHTS]}


@pytest.mark.parametrize("kind", [pytest.param("modelscope", marks=needs_client), "openxlab"])
def test_a_named_file_that_is_not_there(tmp_path: Path, server: Server, kind: SourceKind) -> None:
    repository(kind, server)
    model = ModelSpec("tiny", "llama_cpp", (Source(kind, REF, files=("gone.gguf",)),))
    with pytest.raises(ModelUnavailable, match=r"has no file gone\.gguf"):
        store(tmp_path, server).fetch(model, lambda progress: None, Cancel())


def test_a_gguf_in_parts_is_one_model(tmp_path: Path, server: Server) -> None:
    names = ("tiny-00001-of-00002.gguf", "tiny-00002-of-00002.gguf")
    for name in names:
        server.files[f"/{REF}/resolve/main/{name}"] = Served(name.encode())
    model = ModelSpec("tiny", "llama_cpp", (Source("hf", REF, files=names),))
    assert store(tmp_path, server).fetch(model, lambda progress: None, Cancel()) == tmp_path / "tiny" / names[0]
    assert sorted(on_disk(tmp_path)) == sorted(names)


@each_hub
def test_describe_names_files_and_config_and_fetches_nothing_else(server: Server, kind: SourceKind) -> None:
    repo = repository(kind, server)
    found = sources.describe(kind, REF, limits=QUICK, hf_endpoint=server.url)
    assert {name for name, _ in found.files} == {*FILES, *LEFT_OUT}
    assert found.config == FILES["config.json"].decode() and found.host == "127.0.0.1"
    assert found.revision == (COMMIT if kind == "hf" else "")
    if kind != "openxlab":
        assert found.size == sum(map(len, {**FILES, **LEFT_OUT}.values()))
    assert {request.path for request in server.requests} == {repo.listing, repo.bytes_of["config.json"]}


@pytest.mark.parametrize("ref", ["", "a/b/c", "../x", "org/..", "org/x?y", "org /x", "org/x\n", "/x", "https://hub.example/org/x"])
@each_hub
def test_what_is_no_name_is_never_asked_for(server: Server, kind: SourceKind, ref: str) -> None:
    with pytest.raises(BadRequest, match="is no name of a repository"):
        sources.describe(kind, ref, limits=QUICK, hf_endpoint=server.url)
    assert server.requests == []


def test_only_a_hub_can_be_described(server: Server) -> None:
    with pytest.raises(BadRequest, match="pypi is no hub"):
        sources.describe("pypi", "tiny==1")


def test_describe_says_why_not(server: Server) -> None:
    repo = repository("hf", server)
    server.files[repo.listing] = Served(status=401, headers={"X-Error-Code": "RepoNotFound"})
    with pytest.raises(ModelUnavailable, match="no such repository, or it is private"):
        sources.describe("hf", REF, limits=QUICK, hf_endpoint=server.url)


@pytest.mark.parametrize("name", ["a\0.json", "\ud800.json", "a\nb.json"])
def test_a_file_whose_name_is_no_text_is_left_out(tmp_path: Path, server: Server, name: str) -> None:
    repo = repository("hf", server)
    _listed_too(server, repo, {"rfilename": name, "size": 3})
    fetch(tmp_path, server, "hf")
    assert on_disk(tmp_path) == FILES


@pytest.mark.parametrize("size", [10**400, -1, True, "9", None])
def test_a_size_that_is_none_is_asked_for(tmp_path: Path, server: Server, size: object) -> None:
    repo = repository("hf", server)
    body = server.files.setdefault(f"/{REF}/resolve/{COMMIT}/more.json", Served(b"{}")).body
    _listed_too(server, repo, {"rfilename": "more.json", "size": size})
    fetch(tmp_path, server, "hf")
    assert on_disk(tmp_path) == {**FILES, "more.json": body}


@needs_client
@pytest.mark.parametrize(("key", "value"), [("Path", "a\0.json"), ("Size", 10**400)])
def test_what_modelscope_may_say(tmp_path: Path, server: Server, key: str, value: object) -> None:
    repo = repository("modelscope", server)
    answer = json.loads(server.files[repo.listing].body)
    entry = next(one for one in answer["Data"]["Files"] if one["Path"] == "tokenizer.json")
    entry[key] = value
    server.files[repo.listing] = Served(json.dumps(answer).encode(), headers={"Content-Type": "application/json"})
    if key == "Size":
        with pytest.raises(ModelUnavailable, match=r"the disk of .* GB are needed"):
            fetch(tmp_path, server, "modelscope")
    else:
        fetch(tmp_path, server, "modelscope")
        assert on_disk(tmp_path) == {name: body for name, body in FILES.items() if name != "tokenizer.json"}


def test_openxlab_may_name_what_it_likes(tmp_path: Path, server: Server) -> None:
    repo = repository("openxlab", server)
    answer = json.loads(server.files[repo.listing].body)
    files = answer["data"]["data"]["filePaths"]
    files["odd"] = {**files["config.json"], "fileName": "a\0.json"}
    server.files[repo.listing] = Served(json.dumps(answer).encode(), headers={"Content-Type": "application/json"})
    fetch(tmp_path, server, "openxlab")
    assert on_disk(tmp_path) == FILES


def _listed_too(server: Server, repo: Repository, entry: dict[str, object]) -> None:
    listing = json.loads(server.files[repo.listing].body)
    listing["siblings"].append(entry)
    server.files[repo.listing] = Served(json.dumps(listing).encode())
