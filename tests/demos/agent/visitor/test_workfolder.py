"""Uploads under safe names and within their limits, links that lead nowhere, and an end that leaves nothing."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.agent.sandbox import WorkFile
from demos.agent.sandbox.transcript import safe_name
from demos.agent.visitor import workfolder
from demos.agent.visitor.workfolder import Room, WorkFolder, plain_name
from shared.errors import BadRequest


@pytest.fixture
def folder(tmp_path: Path) -> WorkFolder:
    return WorkFolder(tmp_path / "root")


def put(folder: WorkFolder, name: str, data: bytes = b"data") -> str:
    return folder.upload(name, io.BytesIO(data))


class Endless(io.RawIOBase):
    """Counts what was taken of it."""

    taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        size = len(memoryview(buffer))  # type: ignore[arg-type]
        self.taken += size
        return size


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("data.csv", "data.csv"), ("../../etc/passwd", "passwd"), ("C:\\Users\\me\\a b.xlsx", "a b.xlsx"), ("a\x00b\n.txt", "a b.txt"),
        ("数据 表.csv", "数据 表.csv"), (".bashrc", "bashrc"), ("...", None), ("", None), ("a/", None), ("\x07\u202e", None), ("..", None),
        ("CON", "_CON"), ("nul.txt", "_nul.txt"), ("com1.tar.gz", "_com1.tar.gz"), ("console.txt", "console.txt"), ("COM¹", "_COM¹"),
        ('what?<"|*>:.txt', "what_______.txt"), ("ends. . ", "ends"), ("\udfffhalf.txt", "half.txt"), ("e\u0301.txt", "\u00e9.txt"),
        ("x" * 300 + ".csv", "x" * 116 + ".csv"), ("漢" * 100 + ".csv", "漢" * 38 + ".csv"), ("gpj.\u202eexe.txt", "gpj. exe.txt"),
    ],
)  # fmt: skip
def test_names(name: str, plain: str | None) -> None:
    if plain is not None:
        assert plain_name(name) == plain
        return
    with pytest.raises(BadRequest, match="is no file name") as refused:
        plain_name(name)
    assert refused.value.remedy


@given(st.text(st.characters(), max_size=200))
def test_any_name_becomes_one_that_the_sandbox_takes_or_is_refused(name: str) -> None:
    try:
        plain = plain_name(name)
    except BadRequest:
        return
    assert safe_name(plain) == plain and "/" not in plain and len(plain.encode()) <= workfolder.LONGEST_NAME
    assert plain_name(plain) == plain


def test_nothing_is_made_before_the_first_file(folder: WorkFolder) -> None:
    assert folder.list() == () and folder.stamps() == {} and folder.empty and not folder.files.exists()
    put(folder, "a.txt")
    assert not folder.empty and stat.S_IMODE(folder.files.parent.stat().st_mode) == 0o700


def test_an_upload_is_there_once_and_private(folder: WorkFolder) -> None:
    assert put(folder, "../a.txt", b"one") == "a.txt" == put(folder, "a.txt", b"second")
    assert folder.list() == (WorkFile("a.txt", 6),) and (folder.files / "a.txt").read_bytes() == b"second"
    assert stat.S_IMODE((folder.files / "a.txt").stat().st_mode) == 0o600
    assert put(folder, "empty.txt", b"") == "empty.txt"


def test_a_file_that_is_too_large_leaves_nothing(folder: WorkFolder) -> None:
    source = Endless()
    with pytest.raises(BadRequest, match=r"big\.bin is larger than 64 MiB"):
        folder.upload("big.bin", source)  # type: ignore[arg-type]
    assert source.taken < Room().file + 3 * workfolder.CHUNK
    assert folder.list() == () and not list((folder.files.parent / "incoming").iterdir())


def test_a_source_that_fails_leaves_nothing(folder: WorkFolder) -> None:
    class Failing(Endless):
        def readinto(self, buffer: object) -> int:
            if self.taken > workfolder.CHUNK:
                raise OSError("the connection broke")
            return super().readinto(buffer)

    with pytest.raises(OSError, match="broke"):
        folder.upload("a.bin", Failing())  # type: ignore[arg-type]
    assert folder.list() == () and not list((folder.files.parent / "incoming").iterdir())


def test_the_number_and_the_sum_of_uploads_have_an_end(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path / "root", Room(total=1 << 20, uploads=3))
    for name in ("a", "b", "c"):
        put(folder, name)
    with pytest.raises(BadRequest, match="3 uploaded files already"):
        put(folder, "d")
    put(folder, "c", b"another")  # in the place of one
    with pytest.raises(BadRequest, match="more than 1 MiB"):
        put(folder, "c", bytes(1 << 20))
    assert [file.name for file in folder.list()] == ["a", "b", "c"] and (folder.files / "c").read_bytes() == b"another"


def test_uploads_at_once_keep_to_the_limit(folder: WorkFolder) -> None:
    refused = []

    def upload(number: int) -> None:
        try:
            put(folder, f"{number}.txt")
        except BadRequest:
            refused.append(number)

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folder.list()) == Room().uploads and len(refused) == 10


def made(tmp_path: Path, content: bytes = b"made") -> Path:
    copy = tmp_path / "copy"
    copy.write_bytes(content)
    return copy


def test_what_code_made_stands_beside_uploads(folder: WorkFolder, tmp_path: Path) -> None:
    assert folder.bring(made(tmp_path), "out/table.csv") == ""
    put(folder, "z.txt")
    assert folder.list() == (WorkFile("out/table.csv", 4), WorkFile("z.txt", 4)) and list(folder.stamps()) == ["z.txt", "out/table.csv"]
    assert folder.bring(made(tmp_path, b"newer"), "z.txt") == "" and (folder.files / "z.txt").read_bytes() == b"newer"


def test_a_file_in_the_place_of_a_folder_is_not_kept(folder: WorkFolder, tmp_path: Path) -> None:
    folder.bring(made(tmp_path), "out/table.csv")
    assert "in the way" in folder.bring(made(tmp_path), "out") and "in the way" in folder.bring(made(tmp_path), "out/table.csv/x")
    assert folder.list() == (WorkFile("out/table.csv", 4),)


def test_files_that_code_makes_have_an_end(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path / "root", Room(files=2))
    assert [folder.bring(made(tmp_path), name) for name in ("a", "b", "c", "a")] == ["", "", "there are 2 files already", ""]


def test_a_download_is_a_copy(folder: WorkFolder, tmp_path: Path) -> None:
    folder.bring(made(tmp_path), "out/table.csv")
    copy = folder.fetch("out/table.csv")
    assert copy.read_bytes() == b"made" and copy.name == "table.csv" and not copy.is_relative_to(folder.files)
    folder.bring(made(tmp_path, b"newer"), "out/table.csv")
    assert copy.read_bytes() == b"made" and folder.fetch("out/table.csv").read_bytes() == b"newer"


@pytest.fixture
def trapped(folder: WorkFolder, tmp_path: Path) -> Iterator[WorkFolder]:
    """Links out of the folder, of every kind; none of them ours."""
    put(folder, "plain.txt")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret", "utf-8")
    (folder.files / "link").symlink_to(tmp_path / "outside" / "secret")
    (folder.files / "linked").symlink_to(tmp_path / "outside")
    os.link(tmp_path / "outside" / "secret", folder.files / "hard")
    os.mkfifo(folder.files / "pipe")
    (folder.files / "inner").mkdir()
    yield folder


@pytest.mark.skipif(os.name != "posix", reason="links and pipes are made as on POSIX systems")
@pytest.mark.parametrize(
    "name",
    ["link", "linked/secret", "hard", "pipe", "inner", "../outside/secret", "inner/../../../outside/secret", "", "/etc/passwd", "no"],
)
def test_no_link_leads_out(trapped: WorkFolder, name: str) -> None:
    assert trapped.list() == (WorkFile("plain.txt", 4),)
    with pytest.raises(BadRequest):
        trapped.fetch(name)
    assert trapped.fetch("plain.txt").read_bytes() == b"data"


def test_after_the_end_nothing_is_there_and_nothing_is_taken(folder: WorkFolder, tmp_path: Path) -> None:
    put(folder, "a.txt")
    folder.fetch("a.txt")
    folder.remove()
    folder.remove()
    assert not folder.files.parent.exists() and folder.list() == ()
    with pytest.raises(BadRequest, match="was closed"):
        put(folder, "b.txt")
    assert folder.bring(made(tmp_path), "b.txt") == "the conversation was closed"
    with pytest.raises(BadRequest):
        folder.fetch("a.txt")
    assert not folder.files.parent.exists()


def test_the_end_during_an_upload(folder: WorkFolder) -> None:
    class Ending(Endless):
        def readinto(self, buffer: object) -> int:
            if self.taken:
                folder.remove()
                return 0
            return super().readinto(buffer)

    with pytest.raises(BadRequest, match="was closed"):
        folder.upload("a.bin", Ending())  # type: ignore[arg-type]
    assert not folder.files.parent.exists()
