"""The hubs' own client libraries against our loopback hubs: what the other tests serve is what those really speak.

And the reasons why they list files for us but do not fetch them (docs/decisions/0005-downloads.md).
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest

from models import sources
from models.downloads.request import Limits
from models.downloads.transfer import Meter, download
from models.sources import modelscope as our_modelscope
from shared.engine import Cancel, Source
from shared.errors import ModelUnavailable
from tests import hubs
from tests.servers import Served, Server

FILES = {"config.json": b'{"a": 1}', "sub/extra.json": b"{}", "model.safetensors": bytes(range(256)) * 500}
needs_client = pytest.mark.skipif(
    importlib.util.find_spec("modelscope_hub") is None, reason="its client is not installed: requirements-modelscope.txt"
)
LARGE = ("model.safetensors",)
QUICK = Limits(connect=2.0, read=10.0, backoff=(0.01, 0.01))


def test_the_hub_library_reads_the_same_list_and_fetches_the_same_bytes(server: Server, tmp_path: Path) -> None:
    hubs.hugging_face(server, FILES, large=LARGE)
    info = huggingface_hub.HfApi(endpoint=server.url).model_info(hubs.REF, revision="main", files_metadata=True)
    theirs = {file.rfilename: (file.size, file.lfs.sha256 if file.lfs else "") for file in info.siblings or ()}
    ours = sources.locate(Source("hf", hubs.REF, files=()), Cancel(), QUICK, server.url)
    listed = {want.names[0]: (want.remote.size, want.remote.sha256) for want in ours.wanted}
    assert listed == {name: theirs[name] for name in ("config.json", "model.safetensors")} and ours.revision == info.sha
    fetched = huggingface_hub.hf_hub_download(
        hubs.REF, "model.safetensors", revision=hubs.COMMIT, endpoint=server.url, cache_dir=tmp_path, token=False
    )
    assert Path(fetched).read_bytes() == FILES["model.safetensors"]


@needs_client
def test_the_modelscope_library_reads_the_same_list_and_fetches_the_same_bytes(server: Server, tmp_path: Path) -> None:
    library = our_modelscope.client()
    hubs.modelscope(server, FILES, large=LARGE)
    api = library.HubApi(library.HubConfig(endpoint=server.url, cache_dir=tmp_path))
    theirs = {file.path: (file.size, file.sha256) for file in api.list_repo_files(hubs.REF, "model") if not file.is_dir}
    ours = sources.locate(Source("modelscope", hubs.REF, files=tuple(FILES)), Cancel(), QUICK)
    assert {want.names[0]: (want.remote.size, want.remote.sha256) for want in ours.wanted} == theirs
    for name, body in FILES.items():
        assert api.download_file(hubs.REF, "model", name, local_dir=tmp_path / "there").read_bytes() == body


@needs_client
def test_a_login_goes_to_modelscope_and_to_nobody_else(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-secret")
    hubs.modelscope(server, FILES, large=LARGE)
    with Server({"/blob": Served(FILES["model.safetensors"])}) as storage:
        found = sources.locate(Source("modelscope", hubs.REF, files=LARGE), Cancel(), QUICK)
        path = found.wanted[0].remote.url.removeprefix(server.url)
        server.files[path] = Served(redirect=f"{storage.url}/blob")
        download(found.wanted[0].remote, tmp_path / "part", Meter("m", "s", 0, lambda progress: None), Cancel(), QUICK)
        assert {request.headers.get("authorization") for request in server.requests} == {"Bearer ms-secret"}
        assert storage.requests and not any("secret" in str(request.headers) for request in storage.requests)


def test_without_its_client_modelscope_says_how_to_get_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)  # type: ignore[arg-type]  # Python's own way to say "not installed"
    with pytest.raises(ModelUnavailable, match=r"pip install -r requirements-modelscope\.txt"):
        sources.locate(Source("modelscope", hubs.REF), Cancel(), QUICK)
    assert server.requests == [] and importlib.import_module("models.sources.modelscope") is our_modelscope


def test_openxlab_is_asked_as_its_own_client_asks(server: Server) -> None:
    """Its client cannot be installed beside us; what it sends was read in its source, and is compared here."""
    repo = hubs.openxlab(server, FILES)
    sources.locate(Source("openxlab", hubs.REF, files=("config.json",)), Cancel(), QUICK)
    (asked,) = server.asked(repo.listing, "POST")
    payload = json.loads(asked.body)
    assert payload == {
        "userName": "org", "repositoryName": "tiny", "modelNames": None, "filePaths": ["config.json"], "clientFrom": "0", "ignore": None,
    }  # fmt: skip
    assert asked.headers["content-type"] == "application/json"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "", "//host/x"])
def test_openxlab_may_not_send_us_off_the_web(server: Server, url: str) -> None:
    repo = hubs.openxlab(server, {"model.safetensors": b"x"})
    served = server.files[repo.listing]
    served.body = served.body.replace(f"{server.url}{repo.bytes_of['model.safetensors']}".encode(), url.encode())
    with pytest.raises(ModelUnavailable, match="no web address"):
        sources.locate(Source("openxlab", hubs.REF), Cancel(), QUICK)


@pytest.mark.skipif(not os.environ.get("OPENXLAB_PYTHON"), reason="OPENXLAB_PYTHON names no Python that has openxlab 0.1.3")
def test_the_openxlab_client_sends_the_same_and_understands_the_answer(server: Server, tmp_path: Path) -> None:
    repo = hubs.openxlab(server, FILES)
    (tmp_path / "sub").mkdir()  # it makes no folders
    program = f"""
import openxlab.model.handler.download_file as client
client.endpoint = {server.url!r}
client.download({hubs.REF!r}, output={str(tmp_path)!r}, cache=False)
"""
    done = subprocess.run([os.environ["OPENXLAB_PYTHON"], "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    sources.locate(Source("openxlab", hubs.REF, files=()), Cancel(), QUICK)
    theirs, ours = (json.loads(asked.body) for asked in server.asked(repo.listing, "POST"))
    assert theirs == ours
    assert (tmp_path / "model.safetensors").read_bytes() == FILES["model.safetensors"]
