"""The program without a page: chat in a terminal, the models, downloads, the doctor.

Standard output carries what was asked for and nothing else; progress and notes go to standard error. Knows no page.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TextIO

from demos import doctor as doctor_module
from demos import prompt
from demos.repl import Chat, Leave
from demos.terminal import Terminal, describe, megabytes, printable, run_interruptibly
from models.registry import ENDPOINT_BACKENDS, Registry
from shared import settings as settings_module
from shared.engine import Cancel, Cancelled, ModelSpec, Progress, Sampling
from shared.errors import BadRequest, DemoError, ModelUnavailable
from shared.settings import Settings

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended
SILENT_SECONDS = 2.0


def add_commands(commands: Any) -> None:
    """Add chat, models, download and doctor to the subparsers `commands`; each takes the settings' flags too."""
    chat = _command(commands, "chat", "talk to a model in this terminal")
    chat.add_argument("--system", metavar="TEXT", default="", help="the system prompt")
    chat.add_argument("--once", metavar="TEXT", help="answer TEXT (and what is piped in, below it), print only the answer, and exit")
    _add_sampling(chat)
    models = _command(commands, "models", "list the models: what they need, and whether they are on disk")
    download = _command(commands, "download", "fetch a model, so that it runs offline")
    download.add_argument("model_id", metavar="ID", help="an id that `models` lists")
    download.add_argument("--dir", dest="models_dir", default=argparse.SUPPRESS, metavar="FOLDER", help="the same as --models-dir")
    doctor = _command(commands, "doctor", "look at this machine: what is missing for chat, and what to do about it")
    for parser in (models, doctor):
        parser.add_argument("--json", action="store_true", help="print JSON")
    for parser in (chat, models, download, doctor):
        settings_module.add_flags(parser.add_argument_group("settings"))


def run(settings: Settings, registry: Registry, flags: Mapping[str, Any], start_model: str) -> int:
    """Run the command in `flags`; returns the exit code. Raises `DemoError` for what the user can mend."""
    terminal = _terminal()
    try:
        match flags["command"]:
            case "chat":
                return _chat(settings, registry, flags, start_model, terminal)
            case "models":
                return _models(registry, flags, terminal)
            case _:
                return _download(settings, registry, flags, terminal)
    except (KeyboardInterrupt, Cancelled):
        terminal.end()
        return INTERRUPTED
    except BrokenPipeError:  # the reader (`| head`) has gone: that is its right
        _forget_output()
        return 1


def doctor(settings: Settings, flags: Mapping[str, Any]) -> int:
    """Print what the doctor found; 0 when chat can work, else 1."""
    terminal = _terminal()
    terminal.status("looking at this machine")
    try:
        findings = doctor_module.examine(settings, os.environ)
    except KeyboardInterrupt:
        terminal.end()
        return INTERRUPTED
    terminal.line(doctor_module.as_json(findings) if flags.get("json") else doctor_module.as_text(findings))
    return doctor_module.exit_code(findings)


def sampling_of(flags: Mapping[str, Any], model: Sampling = Sampling()) -> Sampling:
    """The sampling that was typed, over what suits the model. Raises `BadRequest` for a value out of range."""
    typed = {item.name: flags[item.name] for item in fields(Sampling) if flags.get(item.name) is not None}
    return replace(model, **{**typed, "stop": tuple(typed.get("stop", model.stop))})


def piped(stream: TextIO | None, terminal: Terminal) -> str:
    """What another program or a file feeds us, whole; empty for a terminal, a closed input and devices such as /dev/null.

    Raises `BadRequest` for what is no UTF-8."""
    if stream is None or stream.closed or not _feeds(stream):
        return ""
    timer = threading.Timer(SILENT_SECONDS, lambda: terminal.note("Reading standard input until it ends (< /dev/null: no input) ..."))
    timer.daemon = True
    timer.start()
    try:
        return stream.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest("The piped text is not UTF-8.", "Convert it first, for instance with iconv.") from error
    finally:
        timer.cancel()


def _terminal() -> Terminal:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that cannot show a character must not end the answer
    return Terminal(sys.stdout, sys.stderr)


def _command(commands: Any, name: str, help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)
    return parser


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sampling")
    group.add_argument("--temperature", type=float, help="0 is greedy (default: what suits the model)")
    group.add_argument("--top-p", type=float, help="1 is off")
    group.add_argument("--top-k", type=int, help="0 is off")
    group.add_argument("--repetition-penalty", type=float, help="1 is none")
    group.add_argument("--max-tokens", "--max-new-tokens", type=int, help="of an answer")
    group.add_argument("--seed", type=int, help="the same seed gives the same answer (default: drawn anew)")
    group.add_argument("--stop", action="append", metavar="TEXT", help="end the answer before TEXT; may be given several times")


def _chat(settings: Settings, registry: Registry, flags: Mapping[str, Any], start_model: str, terminal: Terminal) -> int:
    chat = Chat(registry, terminal, start_model, flags["system"], sampling_of(flags, registry.spec(start_model).sampling))
    interactive = flags["once"] is None and sys.stdin is not None and sys.stdin.isatty()
    if not interactive:
        question = "\n\n".join(part for part in (flags["once"] or "", piped(sys.stdin, terminal)) if part.strip())
        if not question:
            raise BadRequest("There is nothing to answer.", "Give a message with --once, or pipe one in.")
        chat.ask(question, quiet=True)
        return 0
    terminal.note(f"{start_model} · /help for the commands, exit to leave")
    with prompt.history(settings.data_path / "terminal_history", terminal.note):
        _converse(chat, terminal)
    return 0


def _converse(chat: Chat, terminal: Terminal) -> None:
    while True:
        line = prompt.read(terminal.note)
        if line is None:
            return
        try:
            _turn(chat, line)
        except Leave:
            return
        except DemoError as error:
            terminal.note(error.one_line())


def _turn(chat: Chat, line: str) -> None:
    command = line.strip()
    if line.rstrip() in ("exit", "quit"):
        raise Leave
    mark = next((mark for mark in ("!!", "/") if line.startswith(mark)), None)
    if mark and "\n" not in command:
        chat.obey(command.removeprefix(mark))
    elif command:
        chat.ask(line.strip("\n") if "\n" in line else command)


def _models(registry: Registry, flags: Mapping[str, Any], terminal: Terminal) -> int:
    rows = [_row(spec, registry) for spec in registry.specs()]
    if flags["json"]:
        terminal.line(json.dumps(rows, ensure_ascii=False, indent=2))
        return 0
    head = ("id", "backend", "state", "size", "capabilities", "languages", "licence")
    cells = [head, *(tuple(_cell(row[name]) if name != "size" else _size(row) for name in head) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        terminal.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(spec: ModelSpec, registry: Registry) -> dict[str, object]:
    return {
        "id": spec.id, "backend": spec.backend, "state": registry.state(spec.id), "size": spec.size_bytes,
        "capabilities": sorted(spec.capabilities), "languages": list(spec.languages), "licence": spec.licence, "context": spec.context,
        "parameters": spec.parameters, "verified": spec.verified, "sources": list(dict.fromkeys(source.kind for source in spec.sources)),
    }  # fmt: skip


def _size(row: Mapping[str, object]) -> str:
    """With a tilde where the catalog only describes the model."""
    return _cell(row["size"]) if row["verified"] else f"~{_cell(row['size'])}"


def _cell(value: object) -> str:
    match value:
        case int():
            return megabytes(value) if value else "-"
        case list():
            return printable(", ".join(map(str, value))) or "-"
        case _:
            return printable(str(value)).replace("\n", " ") or "-"


def _download(settings: Settings, registry: Registry, flags: Mapping[str, Any], terminal: Terminal) -> int:
    from models.download import Store  # it needs packages, and the doctor must run without any

    spec = registry.spec(flags["model_id"])
    if spec.backend in ENDPOINT_BACKENDS:
        raise BadRequest(f"{spec.id} has no files: it answers from elsewhere.", "There is nothing to download.")
    store = Store(settings.models_path, source=settings.source, offline=settings.offline)

    def work(emit: Callable[[object], None], cancel: Cancel) -> Path:
        return store.fetch(spec, emit, cancel)

    try:
        path = run_interruptibly(work, lambda item: _show_progress(item, terminal), lambda: terminal.status("stopping"))
    except Cancelled:
        terminal.note(f"Stopped. What has come of {spec.id} is kept: the same command goes on from there.")
        return INTERRUPTED
    except OSError as error:
        cause = f"{settings.models_path} cannot be written: {error.strerror}."
        raise ModelUnavailable(cause, "Choose another folder with --dir.") from error
    if origin := store.origin(spec):
        terminal.note(f"{spec.id} is there, from {origin}")
    terminal.line(str(path))
    return 0


def _show_progress(item: object, terminal: Terminal) -> None:
    if isinstance(item, Progress):
        terminal.status(describe(item))


def _feeds(stream: TextIO) -> bool:
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):  # no file behind it
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _forget_output() -> None:
    """Keep Python from writing to the closed pipe once more when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


__all__: Sequence[str] = ("add_commands", "doctor", "piped", "run", "sampling_of")
