"""Read a file the user uploaded: inside the conversation's work folder only, never through a link.

Every part of a path is opened without following links, and what opens must be a plain file with one name: neither a symlink nor a
hard link leads out, and nothing changes between the check and the reading. Reads text in UTF-8, UTF-16 and GB 18030, and the text
of PDF files in a process of their own (`pdf.py`); pictures and archives are refused.
"""

from __future__ import annotations

import codecs
import csv
import errno
import os
import stat
from pathlib import Path, PurePosixPath

from demos.agent.tools import pdf
from demos.agent.tools.actions import Action, tool_api
from demos.agent.tools.workplace import ToolFailure

MOST_BYTES = 20_000_000
PAGE = 8000  # characters
MOUNTS = ("/mnt/data/", "/box/")  # what prompts and the sandbox call the same folder
_TABLES = {".csv": ",", ".tsv": "\t"}
MOST_NAMES = 50


class ReadFile(Action):
    """Read a file that the user uploaded (text, a table or a PDF), a piece at a time."""

    @tool_api
    def run(self, path: str, start: int = 0, pages: str = "") -> str:
        """Read a file that the user uploaded (text, a table or a PDF), a piece at a time. With an empty path, list the files.

        Args:
            path (str): the name of the file, such as data.csv
            start (int): the character to begin at; each answer says where to go on
            pages (str): of a PDF only: the pages to read, such as 3, 2-5 or 7-
        """
        folder = self.workplace.folder
        if folder is None or not folder.is_dir():
            raise ToolFailure("No file was uploaded in this conversation.", "Ask the user to upload one.")
        if path.strip() in ("", ".", "/"):
            return _listing(folder)
        content, start = contents(folder, path), max(0, start)
        if pdf.is_pdf(content):
            return pdf.read(content, path[:200], pages, min(start, MOST_BYTES))
        if pages.strip():
            raise ToolFailure(f"{path[:200]!r} is no PDF and has no pages.", "Leave pages out; start says where to begin.")
        text = text_of(content, path)
        return page(text, start, _table(text, path) if start <= 0 else "")


def contents(folder: Path, path: str) -> bytes:
    """The bytes of `path` inside `folder`. Raises `ToolFailure` for everything that is not a plain file in there."""
    parts = _parts(folder, path)
    try:
        file = _opened(folder, parts) if os.open in os.supports_dir_fd else _opened_by_name(folder, parts)
    except OSError as error:
        if error.errno == errno.ELOOP or (error.errno == errno.ENOTDIR and _is_link(folder, parts)):
            raise ToolFailure(f"{path[:200]!r} is a link, and links are not followed.", "Upload the file itself.") from error
        raise ToolFailure(f"There is no file {path[:200]!r}.", f"There is: {_listing(folder)}") from error
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise ToolFailure(f"{path[:200]!r} is no plain file.", f"There is: {_listing(folder)}")
        if found.st_size > MOST_BYTES:
            raise ToolFailure(f"{path[:200]!r} is bigger than {MOST_BYTES // 10**6} MB.", "Read it with the code interpreter.")
        with os.fdopen(file, "rb", closefd=False) as opened:
            return opened.read(MOST_BYTES)
    finally:
        os.close(file)


def _opened(folder: Path, parts: tuple[str, ...]) -> int:
    """Each part from the folder before it, so that no part can become a link in between. Raises `OSError`, ELOOP for a link."""
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = inner
        return os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)


def _opened_by_name(folder: Path, parts: tuple[str, ...]) -> int:
    """Where a system cannot open from a folder (Windows, where no model's code runs beside it that could swap a file)."""
    if _is_link(folder, parts) or not folder.joinpath(*parts).resolve().is_relative_to(folder.resolve()):
        raise OSError(errno.ELOOP, "a link")
    return os.open(folder.joinpath(*parts), os.O_RDONLY | getattr(os, "O_BINARY", 0))


def text_of(content: bytes, path: str) -> str:
    """Raises `ToolFailure` for bytes that are no text."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings: tuple[str, ...] = ("utf-16",)
    else:
        encodings = () if b"\0" in content else ("utf-8-sig", "gb18030")
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ToolFailure(f"{path[:200]!r} is not a text file.", "Read it with the code interpreter, or ask for it as text.")


def page(text: str, start: int, head: str = "") -> str:
    """One page of `text` from the character `start`, and where the next one begins."""
    if start >= len(text):
        return f"The file is empty from character {start} on." if text else "The file is empty."
    shown = text[start : start + PAGE]
    end = start + len(shown)
    note = f"\n[characters {start} to {end} of {len(text)}; continue with start={end}]" if end < len(text) else ""
    return f"{head}{shown}{note}"


def _table(text: str, path: str) -> str:
    """For a table, a line about its size ahead of the text: a model does not count well."""
    delimiter = _TABLES.get(PurePosixPath(path).suffix.lower())
    if delimiter is None:
        return ""
    try:
        rows = [len(row) for row in csv.reader(text.splitlines(), delimiter=delimiter)]
    except csv.Error:
        return ""
    return f"[a table of {len(rows)} lines, the first with {rows[0]} columns]\n" if rows else ""


def _parts(folder: Path, path: str) -> tuple[str, ...]:
    asked = path.strip().replace("\\", "/")
    for mount in (*MOUNTS, f"{folder.as_posix()}/"):
        asked = asked.removeprefix(mount)
    parts = tuple(part for part in asked.split("/") if part not in ("", "."))
    if asked.startswith("/") or ".." in parts or "\0" in asked or not parts:
        raise ToolFailure(f"{path[:200]!r} is outside of the work folder.", "Name a file that was uploaded.")
    return parts


def _is_link(folder: Path, parts: tuple[str, ...]) -> bool:
    return any(folder.joinpath(*parts[: count + 1]).is_symlink() for count in range(len(parts)))


def _listing(folder: Path) -> str:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return (", ".join(names[:MOST_NAMES]) + more) or "no file"
