"""A hub id as a folder: which files are fetched and which never, and what is said when there are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from models.architectures import load_model, load_tokenizer
from shared.errors import DemoError, ModelUnavailable, RemoteFailure
from tests.hubs import COMMIT, REF, Repository, hugging_face
from tests.models.architectures.checkpoints import internlm2_raw, tensors_for, write
from tests.models.architectures.small_pieces import small_model
from tests.servers import Served, Server

UNWANTED = {"pytorch_model.bin": b"a pickle", "modeling_evil.py": b"raise SystemExit", "onnx/model.safetensors": b"x", "README.md": b"#"}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    folder = write(tmp_path / "model", internlm2_raw(), tensors_for(internlm2_raw()))
    (folder / "tokenizer.model").write_bytes(small_model())
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with Server() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
        made = hugging_face(server, {file.name: file.read_bytes() for file in folder.iterdir()} | UNWANTED)
        for revision in ("main", COMMIT):
            server.files[f"/api/models/{REF}/revision/{revision}"] = server.files[made.listing]
        tree = [
            {"type": "file", "path": name, "size": len(server.files[path].body), "oid": "b" * 40} for name, path in made.bytes_of.items()
        ]
        json_type = {"Content-Type": "application/json"}
        server.files[f"/api/models/{REF}/tree/{COMMIT}?recursive=true&expand=false"] = Served(json.dumps(tree).encode(), headers=json_type)
        yield made


def fetched(repository: Repository) -> set[str]:
    return {request.path.rpartition("/")[2] for request in repository.server.requests if "/resolve/" in request.path}


def test_a_model_comes_without_pickles_and_without_code(repository: Repository) -> None:
    assert load_model(REF, revision=COMMIT).config.hidden_size == 48
    assert fetched(repository) == {"config.json", "model.safetensors", "tokenizer.model"}
    repository.server.requests.clear()
    assert load_model(REF, revision=COMMIT, local_files_only=True).config.hidden_size == 48
    assert not repository.server.requests


def test_a_tokenizer_comes_without_weights(repository: Repository) -> None:
    assert load_tokenizer(REF)("hello").input_ids[0] == 1
    assert fetched(repository) == {"config.json", "tokenizer.model"}


@pytest.mark.parametrize(
    ("status", "headers", "kind", "says"),
    [
        (404, {"X-Error-Code": "RepoNotFound"}, ModelUnavailable, "The hub has no model org/tiny"),
        (404, {"X-Error-Code": "RevisionNotFound"}, ModelUnavailable, "The hub has no model org/tiny"),
        (403, {"X-Error-Code": "GatedRepo"}, ModelUnavailable, "org/tiny is shown to those only who accepted its terms"),
        (401, {}, DemoError, "org/tiny"),
        (500, {}, RemoteFailure, "org/tiny could not be fetched"),
    ],
)
def test_what_a_hub_refuses_is_said(repository: Repository, status: int, headers: dict[str, str], kind: type[DemoError], says: str) -> None:
    repository.server.files[f"/api/models/{REF}/revision/main"] = Served(status=status, headers=headers)
    with pytest.raises(kind, match=says) as caught:
        load_model(REF)
    assert caught.value.remedy


def test_a_file_that_breaks_off_is_no_model(repository: Repository) -> None:
    repository.served("model.safetensors").length = 10**6
    with pytest.raises(RemoteFailure, match="org/tiny could not be fetched"):
        load_model(REF)
