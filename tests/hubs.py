"""Repositories as the hubs serve them, laid out on a loopback `Server`; each says at which paths its answers lie.

What they answer is what the hubs' own clients read: `tests/models/sources/test_clients.py` runs those against it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus

from tests.servers import Served, Server

COMMIT = "c" * 40
REF = "org/tiny"


@dataclass(frozen=True)
class Repository:
    """`listing` is the path of the list of files, `bytes_of` those of the files' bytes, by name."""

    server: Server
    listing: str
    bytes_of: Mapping[str, str]

    def served(self, name: str) -> Served:
        return self.server.files[self.bytes_of[name]]


def hugging_face(server: Server, files: Mapping[str, bytes], *, large: tuple[str, ...] = (), commit: str = COMMIT) -> Repository:
    """`large` files are in LFS: they have a checksum and come from the storage behind the Hub."""
    siblings, bytes_of = [], {}
    for name, body in files.items():
        digest = hashlib.sha256(body).hexdigest()
        path = f"/{REF}/resolve/{commit}/{name}"
        about = {"X-Repo-Commit": commit}
        siblings.append({"rfilename": name, "size": len(body), "blobId": "b" * 40})
        if name in large:
            siblings[-1]["lfs"] = {"sha256": digest, "size": len(body), "pointerSize": 134}
            about |= {"X-Linked-Size": str(len(body)), "X-Linked-ETag": f'"{digest}"'}
            server.files[path] = Served(redirect=f"{server.url}/storage/{digest}", headers=about)
            path = f"/storage/{digest}"
        server.files[path] = Served(body, etag=f'"{digest[:40]}"', headers=about)
        bytes_of[name] = path
    listing = f"/api/models/{REF}/revision/main?blobs=true"
    info = {"_id": "1", "id": REF, "modelId": REF, "sha": commit, "private": False, "tags": [], "downloads": 0, "likes": 0}
    server.files[listing] = Served(json.dumps({**info, "siblings": siblings}).encode(), headers={"Content-Type": "application/json"})
    return Repository(server, listing, bytes_of)


def modelscope(server: Server, files: Mapping[str, bytes], *, large: tuple[str, ...] = (), revision: str = "master") -> Repository:
    entries: list[dict[str, object]] = [{"Path": "sub", "Name": "sub", "Type": "tree", "Size": 0}]
    bytes_of = {}
    for name, body in files.items():
        digest = hashlib.sha256(body).hexdigest()
        path = f"/api/v1/models/{REF}/repo?Revision={quote_plus(revision)}&FilePath={quote_plus(name)}"
        entries.append(
            {"Path": name, "Name": name.rpartition("/")[2], "Type": "blob", "Size": len(body), "Sha256": digest, "Revision": COMMIT}
        )
        if name in large:
            server.files[path] = Served(redirect=f"{server.url}/oss/{digest}")
            path = f"/oss/{digest}"
        server.files[path] = Served(body, etag=f'"{digest[:32]}"')
        bytes_of[name] = path
    listing = f"/api/v1/models/{REF}/repo/files?Revision={quote_plus(revision)}&Recursive=True"
    answer = {"Code": 200, "Success": True, "Message": "success", "Data": {"Files": entries}}
    server.files[listing] = Served(json.dumps(answer).encode(), headers={"Content-Type": "application/json"})
    return Repository(server, listing, bytes_of)


def openxlab(server: Server, files: Mapping[str, bytes], *, large: tuple[str, ...] = ()) -> Repository:
    """It gives neither sizes nor checksums; all files lie in its storage."""
    entries, bytes_of = {}, {}
    for name, body in files.items():
        path = f"/xlab/{quote_plus(name)}?Signature=1"
        server.files[path] = Served(body)
        entries[name] = {"url": f"{server.url}{path}", "fileName": name, "hash": "0" * 32}
        bytes_of[name] = path
    fine = {"msgCode": "10000", "msg": "success", "traceId": "t"}
    answer = {**fine, "success": True, "total": 0, "data": {**fine, "data": {"modelNames": None, "filePaths": entries}}}
    listing = "/model-center/api/v1/cli/repository/getFileDownloadUrl"
    server.files[listing] = Served(json.dumps(answer).encode(), headers={"Content-Type": "application/json"})
    return Repository(server, listing, bytes_of)


HUBS = {"hf": hugging_face, "modelscope": modelscope, "openxlab": openxlab}
