"""Reading an uploaded file: pages, encodings, and no way out of the work folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from demos.agent.tools import files
from demos.agent.tools.files import ReadFile
from demos.agent.tools.workplace import ToolFailure, Workplace


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("secret")
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.txt").write_text("hello 你好", "utf-8")
    return work


def read(folder: Path | None, path: str, start: int = 0) -> str:
    return ReadFile(Workplace(folder)).run(path, start)


@pytest.mark.parametrize("path", ["a.txt", " ./a.txt", "/mnt/data/a.txt", "/box/a.txt", "{folder}/a.txt", ".\\a.txt"])
def test_a_file_is_found_by_each_of_its_names(folder: Path, path: str) -> None:
    assert read(folder, path.format(folder=folder)) == "hello 你好"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_encodings(folder: Path, encoding: str) -> None:
    (folder / "b.txt").write_bytes("名称,价格\n".encode(encoding))
    assert read(folder, "b.txt") == "名称,价格\n"


def test_long_files_come_in_pages(folder: Path) -> None:
    (folder / "long.txt").write_text("x" * files.PAGE + "y" * 10)
    first, second = read(folder, "long.txt"), read(folder, "long.txt", files.PAGE)
    assert first == "x" * files.PAGE + f"\n[characters 0 to {files.PAGE} of {files.PAGE + 10}; continue with start={files.PAGE}]"
    assert second == "y" * 10
    assert read(folder, "long.txt", 10**9) == f"The file is empty from character {10**9} on."
    assert read(folder, "long.txt", -5) == first


def test_a_table_says_its_size(folder: Path) -> None:
    (folder / "t.csv").write_text('a,b,c\n1,"x\ny",3\n')
    assert read(folder, "t.csv") == '[a table of 2 lines, the first with 3 columns]\na,b,c\n1,"x\ny",3\n'


def test_an_empty_path_lists_the_files(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "b.csv").write_text("1")
    (folder / "link").symlink_to(folder.parent / "secret.txt")
    assert read(folder, "") == "a.txt, sub/b.csv"
    assert read(folder, "sub/b.csv").endswith("\n1")


@pytest.mark.parametrize(
    "path", ["../secret.txt", "/etc/passwd", "sub/../../secret.txt", "..", "a.txt/..", "a\0.txt", "{parent}/secret.txt", "..\\secret.txt"]
)
def test_a_path_out_of_the_folder_is_refused(folder: Path, path: str) -> None:
    with pytest.raises(ToolFailure, match="outside of the work folder"):
        read(folder, path.format(parent=folder.parent))


def test_links_are_not_followed(folder: Path) -> None:
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "dir").symlink_to(folder.parent)
    (folder / "inner.txt").symlink_to(folder / "a.txt")
    for path in ("link.txt", "dir/secret.txt", "inner.txt"):
        with pytest.raises(ToolFailure, match="is a link"):
            read(folder, path)
    os.link(folder.parent / "secret.txt", folder / "hard.txt")
    with pytest.raises(ToolFailure, match="no plain file"):
        read(folder, "hard.txt")


def test_pipes_folders_devices_and_missing_files(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "sub").mkdir()
    for path in ("pipe", "sub"):
        with pytest.raises(ToolFailure, match="no plain file"):
            read(folder, path)
    for path in ("none.txt", "a.txt/b", "x" * 300):
        with pytest.raises(ToolFailure, match=r"There is no file .* There is: a\.txt"):
            read(folder, path)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0", b"\xff\xff\xff", b"PK\x03\x04\0"])
def test_what_is_no_text_is_said(folder: Path, content: bytes) -> None:
    (folder / "x.bin").write_bytes(content)
    with pytest.raises(ToolFailure, match="is not a text file"):
        read(folder, "x.bin")


def test_a_file_that_is_too_big_is_refused_unread(folder: Path) -> None:
    with (folder / "big.txt").open("wb") as big:
        big.truncate(files.MOST_BYTES + 1)
    with pytest.raises(ToolFailure, match="bigger than 20 MB"):
        read(folder, "big.txt")


def test_without_uploads(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "never made"):
        with pytest.raises(ToolFailure, match="No file was uploaded"):
            read(folder, "a.txt")
    (tmp_path / "empty.txt").write_text("")
    assert read(tmp_path, "empty.txt") == "The file is empty."


def test_without_opening_from_a_folder_links_are_refused_all_the_same(folder: Path) -> None:
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "dir").symlink_to(folder.parent)
    for parts in (("link.txt",), ("dir", "secret.txt"), ("..", "secret.txt")):
        with pytest.raises(OSError, match="a link"):
            files._opened_by_name(folder, parts)
    with open(files._opened_by_name(folder, ("a.txt",)), encoding="utf-8") as opened:
        assert opened.read() == "hello 你好"
