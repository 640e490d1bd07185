"""The downloader against real sockets: what lands, what is resumed, what is refused, and what Stop does."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.download import Store, default_order, time_zone
from models.downloads.request import Limits
from shared.engine import Cancel, Cancelled, ModelSpec, Progress, Source
from shared.errors import BadRequest, ModelUnavailable
from tests.servers import Served, Server

BODY = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(300_000)
SHA = hashlib.sha256(BODY).hexdigest()
PATH = "/org/tiny/resolve/main/weights.gguf"
QUICK = Limits(connect=2.0, read=10.0, backoff=(0.01, 0.01))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own proxies, tokens and mirrors must not decide how these tests end."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "HF_HUB_OFFLINE", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({PATH: Served(BODY)}) as running:
        yield running


def spec(*sources: Source, sha256: str = SHA, size: int = len(BODY)) -> ModelSpec:
    return ModelSpec("tiny", "llama_cpp", sources or (Source("hf", "org/tiny", files=("weights.gguf",), sha256=sha256),), size_bytes=size)


def store(root: Path, server: Server, limits: Limits = QUICK) -> Store:
    return Store(root, hf_endpoint=server.url, limits=limits)


def fetch(root: Path, server: Server, model: ModelSpec | None = None, limits: Limits = QUICK) -> tuple[Path, list[Progress]]:
    seen: list[Progress] = []
    return store(root, server, limits).fetch(model or spec(), seen.append, Cancel()), seen


def visible(root: Path) -> list[str]:
    """Everything that looks like a file of a model."""
    return sorted(path.name for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))


def left_over(root: Path) -> list[str]:
    kept = (".lock", ".origin.json")  # the lock between processes, and who served the files
    return sorted(path.name for path in root.rglob(".*") if path.is_file() and not path.name.endswith(kept))


def stop_in_silence(root: Path, server: Server, model: ModelSpec, *, some_bytes: bool) -> None:
    """Download until the server is silent (and `some_bytes` have come), then press Stop."""
    cancel, came, raised = Cancel(), threading.Event(), []

    def run() -> None:
        try:
            store(root, server).fetch(model, lambda progress: came.set() if progress.done else None, cancel)
        except (Cancelled, ModelUnavailable) as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert server.stalled.wait(20) and (not some_bytes or came.wait(20))
    cancel.set()
    thread.join(8)  # the server stays silent for 30 s: only Stop can have ended it
    assert not thread.is_alive() and isinstance(raised[0], Cancelled)


def test_it_lands_whole_and_is_found_without_the_network(tmp_path: Path, server: Server) -> None:
    path, seen = fetch(tmp_path, server)
    assert path == tmp_path / "tiny" / "weights.gguf" and path.read_bytes() == BODY
    assert left_over(tmp_path) == []
    asked = len(server.requests)
    assert store(tmp_path, server).find(spec()) == path == fetch(tmp_path, server)[0]
    assert len(server.requests) == asked
    bytes_seen = [progress.done for progress in seen]
    assert bytes_seen == sorted(bytes_seen) and bytes_seen[-1] == seen[-1].total == len(BODY)
    assert {(progress.stage, progress.model) for progress in seen} == {("downloading", "tiny")}
    assert [progress.detail for progress in (seen[0], seen[-1])] == ["hf", "hf (127.0.0.1)"]
    assert store(tmp_path, server).origin(spec()) == "hf (127.0.0.1)"


def test_progress_tells_speed_and_time_left_but_not_every_piece(tmp_path: Path, server: Server) -> None:
    server.files[PATH] = Served(BODY, pause=0.002, piece=1000)
    _, seen = fetch(tmp_path, server)
    assert 3 <= len(seen) < 100  # there were 300 pieces
    assert any(progress.bytes_per_second > 0 and progress.seconds_left for progress in seen)


@pytest.mark.parametrize("sha256", [SHA, ""])
def test_a_cut_connection_is_resumed_where_it_ended(tmp_path: Path, server: Server, sha256: str) -> None:
    server.files[PATH].cuts = [100_000, 50_000]
    path, _ = fetch(tmp_path, server, spec(sha256=sha256))
    assert path.read_bytes() == BODY
    assert [request.headers.get("range") for request in server.asked(PATH)] == [None, "bytes=100000-", "bytes=150000-"]


def test_a_server_without_ranges_starts_over(tmp_path: Path, server: Server) -> None:
    server.files[PATH] = Served(BODY, ranges=False, cuts=[100_000])
    path, seen = fetch(tmp_path, server)
    assert path.read_bytes() == BODY and seen[-1].total == len(BODY)


def test_a_server_that_always_cuts_at_the_same_place_is_given_up(tmp_path: Path, server: Server) -> None:
    server.files[PATH] = Served(BODY, ranges=False, cuts=[100_000] * 50)
    with pytest.raises(ModelUnavailable, match=r"100,000 of 300,000|closed connection"):
        fetch(tmp_path, server)
    assert len(server.asked(PATH)) < 6 and visible(tmp_path) == []


def test_a_busy_server_is_asked_again(tmp_path: Path, server: Server) -> None:
    server.files[PATH].failures = [503, 429]
    assert fetch(tmp_path, server)[0].read_bytes() == BODY
    assert len(server.asked(PATH)) == 3


@pytest.mark.parametrize("length", [len(BODY) + 1000, len(BODY) - 1000])
def test_a_lie_about_the_length_lands_nothing(tmp_path: Path, server: Server, length: int) -> None:
    server.files[PATH] = Served(BODY, length=length)
    with pytest.raises(ModelUnavailable, match=r"bytes|SHA-256|another file"):
        fetch(tmp_path, server)
    assert visible(tmp_path) == []


def test_wrong_bytes_are_removed(tmp_path: Path, server: Server) -> None:
    server.files[PATH] = Served(OTHER)
    with pytest.raises(ModelUnavailable, match="SHA-256"):
        fetch(tmp_path, server)
    assert visible(tmp_path) == left_over(tmp_path) == []


def test_another_size_than_the_hub_says_is_refused(tmp_path: Path, server: Server) -> None:
    server.files[PATH] = Served(BODY, headers={"X-Linked-Size": "123"})
    with pytest.raises(ModelUnavailable, match="300,000 bytes instead of 123"):
        fetch(tmp_path, server)


def test_the_etag_of_a_large_hub_file_is_its_checksum(tmp_path: Path, server: Server) -> None:
    server.files[PATH] = Served(OTHER, headers={"X-Linked-ETag": f'"{SHA}"'})
    with pytest.raises(ModelUnavailable, match="SHA-256"):
        fetch(tmp_path, server, spec(sha256=""))


@pytest.mark.parametrize("sha256", [hashlib.sha256(OTHER).hexdigest(), ""])
def test_a_file_that_changed_meanwhile_starts_over(tmp_path: Path, server: Server, sha256: str) -> None:
    server.files[PATH].stall_after = 100_000
    stop_in_silence(tmp_path, server, spec(sha256=sha256), some_bytes=True)
    server.files[PATH] = Served(OTHER, etag='"two"')
    assert fetch(tmp_path, server, spec(sha256=sha256))[0].read_bytes() == OTHER
    assert "range" in server.asked(PATH)[1].headers


@pytest.mark.parametrize("stall_after", [-1, 0, 100_000])
def test_stop_ends_a_silent_download_and_the_next_one_goes_on(tmp_path: Path, server: Server, stall_after: int) -> None:
    server.files[PATH].stall_after = stall_after
    stop_in_silence(tmp_path, server, spec(), some_bytes=stall_after > 0)
    kept = sum(path.stat().st_size for path in tmp_path.rglob(".*.part"))
    assert (kept > 0) == (stall_after > 0)
    assert store(tmp_path, server).find(spec()) is None and visible(tmp_path) == []
    server.files[PATH].stall_after = None
    server.requests.clear()
    assert fetch(tmp_path, server)[0].read_bytes() == BODY
    assert server.asked(PATH)[0].headers.get("range") == (f"bytes={kept}-" if kept else None)


def test_a_silent_server_is_given_up(tmp_path: Path, server: Server) -> None:
    server.files[PATH].stall_after = 100_000
    with pytest.raises(ModelUnavailable, match=r"no answer from 127\.0\.0\.1 in time"):
        fetch(tmp_path, server, limits=Limits(connect=2.0, read=0.3, backoff=(0.01,)))
    assert visible(tmp_path) == []


def test_the_disk_is_looked_at_before_a_byte_is_fetched(tmp_path: Path, server: Server) -> None:
    with pytest.raises(ModelUnavailable, match="GB are needed"):
        fetch(tmp_path, server, spec(size=10**18))
    assert server.asked(PATH) == []


def test_the_token_stays_with_the_hub(tmp_path: Path, server: Server) -> None:
    with Server({"/blob": Served(BODY)}) as storage:
        server.files[PATH] = Served(redirect=f"{storage.url}/blob", headers={"X-Linked-Size": str(len(BODY))})
        assert fetch(tmp_path, server)[0].read_bytes() == BODY
        assert {request.headers.get("authorization") for request in server.requests} == {"Bearer hf_secret"}
        assert storage.requests and not any("authorization" in request.headers for request in storage.requests)


def test_a_redirect_leaves_the_web_nowhere(tmp_path: Path, server: Server) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(BODY)
    server.files[PATH] = Served(redirect=secret.as_uri())
    with pytest.raises(ModelUnavailable, match="hf"):
        fetch(tmp_path / "root", server)
    assert visible(tmp_path / "root") == []


@pytest.mark.parametrize(("code", "cause"), [("GatedRepo", "accept the licence"), ("EntryNotFound", "no such file"), ("", "answers 403")])
def test_the_hubs_refusals_say_what_is_wrong(tmp_path: Path, server: Server, code: str, cause: str) -> None:
    server.files[PATH] = Served(status=403, headers={"X-Error-Code": code})
    with pytest.raises(ModelUnavailable, match=cause):
        fetch(tmp_path, server)


DOWNLOADER = """
import sys
from pathlib import Path
from models.download import Store
from shared.engine import Cancel, ModelSpec, Source
root, endpoint, sha256 = sys.argv[1:]
spec = ModelSpec("tiny", "llama_cpp", (Source("hf", "org/tiny", files=("weights.gguf",), sha256=sha256),))
waited = []
print(Store(Path(root), hf_endpoint=endpoint).fetch(spec, lambda p: waited.append(p.stage == "waiting"), Cancel()), any(waited))
"""


def downloader(root: Path, server: Server) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    arguments = [sys.executable, "-c", DOWNLOADER, str(root), server.url, SHA]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True)


def test_two_processes_download_once(tmp_path: Path, server: Server) -> None:
    server.files[PATH].stall_after = 100_000  # until the second process is known to wait
    first = downloader(tmp_path, server)
    assert server.stalled.wait(20)
    server.files[PATH].stall_after = None
    seen: list[Progress] = []

    def on_progress(progress: Progress) -> None:
        seen.append(progress)
        server.go_on.set()

    here = store(tmp_path, server).fetch(spec(), on_progress, Cancel())
    output, _ = first.communicate(timeout=30)
    assert output.split() == [str(here), "False"] and here.read_bytes() == BODY
    assert {progress.stage for progress in seen} == {"waiting"}
    assert [request.headers.get("range") for request in server.asked(PATH)] == [None, "bytes=100000-"]  # one download, cut once


def test_stop_ends_the_wait_for_another_process(tmp_path: Path, server: Server) -> None:
    server.files[PATH].stall_after = 100_000
    other = downloader(tmp_path, server)
    try:
        assert server.stalled.wait(20)
        cancel, seen = Cancel(), []

        def on_progress(progress: Progress) -> None:
            seen.append(progress.stage)
            cancel.set()

        with pytest.raises(Cancelled):
            store(tmp_path, server).fetch(spec(), on_progress, cancel)
        assert seen == ["waiting"]
    finally:
        other.kill()
        other.communicate()


def test_a_killed_download_leaves_nothing_that_looks_complete(tmp_path: Path, server: Server) -> None:
    server.files[PATH].stall_after = 100_000
    process = downloader(tmp_path, server)
    assert server.stalled.wait(20)
    process.kill()
    process.communicate()
    assert store(tmp_path, server).find(spec()) is None and visible(tmp_path) == []
    server.files[PATH].stall_after = None
    assert fetch(tmp_path, server)[0].read_bytes() == BODY


def test_without_a_network_one_message_names_every_source_and_the_place(tmp_path: Path, server: Server) -> None:
    model = spec(
        Source("path", str(tmp_path / "nowhere.gguf")), Source("modelscope", "org/scope"), Source("openxlab", "org/lab"),
        Source("hf", "org/tiny", files=("weights.gguf",)), Source("pypi", "tiny-weights==1.0", files=("tiny/weights.gguf",)),
    )  # fmt: skip
    with pytest.raises(ModelUnavailable) as offline:
        Store(tmp_path, offline=True, hf_endpoint=server.url).fetch(model, lambda _: None, Cancel())
    tried = ("nowhere.gguf", "pypi (tiny-weights==1.0): the network is switched off", "hf (org/tiny)", "modelscope (org/scope)", "org/lab")
    for said in tried:
        assert said in offline.value.cause
    for said in (str(tmp_path / "tiny" / "weights.gguf"), "HF_ENDPOINT", "PIP_INDEX_URL", "--model PATH", "proxy"):
        assert said in offline.value.remedy
    assert server.requests == []


def test_a_hub_that_is_not_there_fails_at_once(tmp_path: Path) -> None:
    with Server() as gone:
        pass
    with pytest.raises(ModelUnavailable, match=r"hf \(org/tiny\): 127\.0\.0\.1 cannot be reached"):
        fetch(tmp_path, gone)


def test_an_endpoint_holds_no_files(tmp_path: Path, server: Server) -> None:
    with pytest.raises(ModelUnavailable, match="nothing can be downloaded from a source of the kind endpoint"):
        fetch(tmp_path, server, spec(Source("endpoint", server.url)))


def test_a_web_page_instead_of_the_file_is_refused(tmp_path: Path, server: Server) -> None:
    """What the login page of a hotel's network looks like; without a checksum nothing else would tell."""
    server.files[PATH] = Served(b"<html>Please log in</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(ModelUnavailable, match="a web page instead of the file"):
        fetch(tmp_path, server, spec(sha256=""))
    assert visible(tmp_path) == []


def test_a_source_can_be_chosen(tmp_path: Path, server: Server) -> None:
    with pytest.raises(BadRequest) as wrong:
        Store(tmp_path, source="pypi").fetch(spec(), lambda _: None, Cancel())
    assert "'pypi'" in wrong.value.cause and "hf" in wrong.value.remedy
    with pytest.raises(ModelUnavailable, match="--source local"):
        Store(tmp_path, source="local", hf_endpoint=server.url).fetch(spec(), lambda _: None, Cancel())
    assert server.requests == []


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, ["pypi", "hf"]),
        ({"LANG": "en_US.UTF-8", "TZ": "Europe/Berlin"}, ["pypi", "hf"]),
        ({"SPACE_ID": "someone/space", "LANG": "zh_CN.UTF-8"}, ["hf", "modelscope"]),
        ({"LANG": "zh_CN.UTF-8"}, ["pypi", "modelscope"]),
        ({"LC_ALL": "en_US.UTF-8", "LANG": "zh_CN.UTF-8"}, ["pypi", "hf"]),
        ({"TZ": "Asia/Shanghai"}, ["pypi", "modelscope"]),
        ({"TZ": "Asia/Shanghai", "HF_ENDPOINT": "https://hf-mirror.com"}, ["pypi", "hf"]),
        ({"MODELSCOPE_API_TOKEN": "ms-1"}, ["pypi", "modelscope"]),
        ({"HF_TOKEN": "hf-1", "MODELSCOPE_API_TOKEN": "ms-1"}, ["pypi", "hf"]),
    ],
)
def test_the_nearest_hub_is_asked_first(environment: dict[str, str], first: list[str]) -> None:
    order = default_order(environment)
    assert order[0] == "path" and order[-1] == "openxlab" and list(order[1:3]) == first
    assert set(order) == {"path", "pypi", "hf", "modelscope", "openxlab"}


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "China Standard Time"])
def test_the_zone_of_the_machine_counts_where_no_other_is_set(zone: str) -> None:
    assert default_order({}, zone)[2] == "modelscope"
    assert default_order({"TZ": "Europe/Berlin"}, zone)[2] == "hf"
    assert default_order({}, time_zone())[0] == "path"
