"""The terminal as its users meet it: real processes, real pipes, a real pseudo-terminal."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import launch
from demos import cli
from shared import settings as settings_module
from shared.engine import Sampling
from shared.errors import BadRequest
from shared.messages import to_json, user
from tests.demos.pty_session import CTRL_C, CTRL_D, PATIENCE, ROOT, UP, Session
from tests.servers import Served, Server

# Slow enough that an answer of 2,000 pieces cannot end before Ctrl-C arrives: it would take 100 seconds.
SCRIPT = """
[[model]]
id = "long"
backend = "scripted"
context = 4096
source = [{ kind = "path", ref = "script" }]
options = { replies = ["BEGIN {words}"], delay = 0.05 }

[[model]]
id = "hostile"
backend = "scripted"
source = [{ kind = "path", ref = "script" }]
options = { replies = ["one\\u001b[2Jtwo\\u001b]0;title\\u0007three\\u0085four\\n"], pieces = 1 }

[[model]]
id = "thinker"
backend = "scripted"
source = [{ kind = "path", ref = "script" }]
options = { replies = ["<think>hm</think>The answer."] }

[[model]]
id = "tight"
backend = "scripted"
context = 40
source = [{ kind = "path", ref = "script" }]
options = { replies = ["yes"] }
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """This process's environment without what would change the outcome, and a data folder of its own."""
    foreign = ("PUYU_", "HF_", "OPENAI_", "GRADIO_", "PIP_", "NO_COLOR", "http", "HTTP", "SSH_", "SPACE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "PUYU_DATA_DIR": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def catalog(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(SCRIPT.replace("{words}", "word " * 2000), "utf-8")
    return str(path)


def run(arguments: Iterable[str], environment: dict[str, str], stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    feed = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run(
        [sys.executable, "launch.py", *arguments], cwd=ROOT, env=environment, capture_output=True, timeout=PATIENCE, **feed
    )  # type: ignore[call-overload,no-any-return]


def until(condition: Callable[[], bool]) -> None:
    """Wait for another process to bring `condition` about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def flags(*arguments: str) -> dict[str, object]:
    return vars(launch._parser().parse_args(arguments))


# Flags


@pytest.mark.parametrize("arguments", [("--demo", "chat"), ("chat", "--demo"), ("--demo", "chat", "--demo")])
def test_a_setting_counts_before_and_after_the_command(arguments: tuple[str, ...]) -> None:
    assert settings_module.read(flags(*arguments), {}).demo


def test_a_later_flag_wins_and_an_untyped_one_undoes_nothing() -> None:
    settings = settings_module.read(flags("--model", "a", "--keep", "2", "chat", "--model", "b"), {})
    assert (settings.model, settings.keep) == ("b", 2)


def test_dir_of_download_is_the_models_folder(tmp_path: Path) -> None:
    assert settings_module.read(flags("download", "x", "--dir", str(tmp_path)), {}).models_path == tmp_path


def test_sampling_flags_become_sampling() -> None:
    line = "--temperature 0 --top-p 0.5 --top-k 3 --repetition-penalty 1.1 --max-tokens 7 --seed 0 --stop A --stop B"
    assert cli.sampling_of(flags("chat", *line.split())) == Sampling(0.0, 0.5, 3, 1.1, 7, 0, ("A", "B"))


def test_sampling_out_of_range_is_refused() -> None:
    with pytest.raises(BadRequest, match="temperature"):
        cli.sampling_of(flags("chat", "--temperature", "9"))


# --once and pipes


def test_once_prints_the_answer_and_nothing_else(environment: dict[str, str]) -> None:
    done = run(["chat", "--demo", "--once", "Hello, 世界 🙂"], environment)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, "Hello, 世界 🙂\n", b"")


def test_piped_text_is_one_message(environment: dict[str, str]) -> None:
    done = run(["--demo", "chat"], environment, "two\nlines 你好\n".encode())
    assert (done.returncode, done.stdout.decode()) == (0, "two\nlines 你好\n")


def test_piped_text_stands_below_once(environment: dict[str, str]) -> None:
    assert run(["chat", "--demo", "--once", "Explain:"], environment, b"some code").stdout == b"Explain:\n\nsome code\n"


@pytest.mark.parametrize(("stdin", "word"), [(b"", b"nothing to answer"), (b" \n", b"nothing to answer"), (b"\xff\xfe\xfa", b"not UTF-8")])
def test_unusable_input_is_one_line_and_exit_code_2(environment: dict[str, str], stdin: bytes, word: bytes) -> None:
    done = run(["chat", "--demo"], environment, stdin)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert word in done.stderr


def test_escapes_of_the_model_never_reach_the_reader(environment: dict[str, str], catalog: str) -> None:
    assert run(["chat", "--models", catalog, "--model", "hostile", "--once", "x"], environment).stdout == b"onetwothreefour\n"


def test_once_leaves_thoughts_out(environment: dict[str, str], catalog: str) -> None:
    assert run(["chat", "--models", catalog, "--model", "thinker", "--once", "x"], environment).stdout == b"The answer.\n"


def test_a_cut_answer_is_said_beside_it(environment: dict[str, str]) -> None:
    done = run(["chat", "--demo", "--max-tokens", "1", "--once", "abcdefgh"], environment)
    assert (done.returncode, done.stdout) == (0, b"abcd\n")
    assert b"max-tokens" in done.stderr


def test_a_reader_that_goes_away_ends_the_answer_quietly(environment: dict[str, str], catalog: str) -> None:
    command = [sys.executable, "launch.py", "chat", "--models", catalog, "--model", "long", "--once", "x"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    assert process.stdout.read(5) == b"BEGIN"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(PATIENCE) == 1
    process.stderr.close()


def test_ctrl_c_during_once_keeps_what_was_printed(environment: dict[str, str], catalog: str) -> None:
    command = [sys.executable, "launch.py", "chat", "--models", catalog, "--model", "long", "--once", "x"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    begun = process.stdout.read(5)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=PATIENCE)
    assert (begun, rest[-1:], process.returncode, errors) == (b"BEGIN", b"\n", cli.INTERRUPTED, b"")


# Bad input


def test_an_unknown_model_is_exit_code_2_with_the_known_ids(environment: dict[str, str]) -> None:
    done = run(["chat", "--model", "nonesuch", "--once", "x"], environment)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert b"nonesuch" in done.stderr and b"smollm2-135m-instruct" in done.stderr


def test_a_folder_that_is_no_model_is_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    done = run(["chat", "--model", str(tmp_path), "--once", "x"], environment)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert b"is no model" in done.stderr


def test_offline_without_a_model_is_one_line(environment: dict[str, str]) -> None:
    done = run(["chat", "--offline", "--once", "x"], environment)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert b"smollm2-135m-instruct" in done.stderr and b"offline" in done.stderr


@pytest.mark.parametrize(("broken", "word"), [("colour = 1\n", b"colour"), (SCRIPT, b"twice")])
def test_a_broken_catalog_is_exit_code_2(environment: dict[str, str], tmp_path: Path, broken: str, word: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_text((SCRIPT + broken) if word == b"twice" else SCRIPT.replace('id = "long"\n', f'id = "long"\n{broken}'), "utf-8")
    done = run(["chat", "--models", str(path), "--once", "x"], environment)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert word in done.stderr and b"broken.toml" in done.stderr


# models


def test_models_as_a_table_and_as_json(environment: dict[str, str]) -> None:
    table = run(["models"], environment).stdout.decode().splitlines()
    assert table[0].split() == ["id", "backend", "state", "size", "capabilities", "languages", "licence"]
    assert " ".join(table[1].split()).startswith("smollm2-135m-instruct llama_cpp not downloaded 98 MB")
    rows = json.loads(run(["models", "--json"], environment).stdout)
    assert rows[0]["id"] == "smollm2-135m-instruct" and rows[0]["size"] == 98362432 and rows[0]["languages"] == ["en"]


# download


@pytest.mark.parametrize(("arguments", "word"), [(["nonesuch"], b"smollm2"), (["demo", "--demo"], b"nothing to download")])
def test_what_cannot_be_downloaded(environment: dict[str, str], arguments: list[str], word: bytes) -> None:
    done = run(["download", *arguments], environment)
    assert (done.returncode, done.stdout) == (2, b"")
    assert word in done.stderr


def test_a_download_stopped_with_ctrl_c_goes_on_later(environment: dict[str, str], tmp_path: Path) -> None:
    body = bytes(range(256)) * 1000
    catalog, target = tmp_path / "hub.toml", tmp_path / "models"
    catalog.write_text(
        '[[model]]\nid = "tiny"\nbackend = "llama_cpp"\n[[model.source]]\nkind = "hf"\nref = "org/tiny"\nfiles = ["w.gguf"]\n'
        f'sha256 = "{hashlib.sha256(body).hexdigest()}"\n', "utf-8",
    )  # fmt: skip
    path = "/org/tiny/resolve/main/w.gguf"
    with Server({path: Served(body, stall_after=100_000)}) as server:
        environment = {**environment, "HF_ENDPOINT": server.url}
        command = ["download", "tiny", "--models", str(catalog), "--source", "hf", "--dir", str(target)]
        process = subprocess.Popen([sys.executable, "launch.py", *command], cwd=ROOT, env=environment, stderr=subprocess.PIPE)
        assert server.stalled.wait(PATIENCE)
        until(lambda: any(part.stat().st_size for part in target.rglob("*.part")))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == cli.INTERRUPTED
        assert errors.count(b"\n") == 1 and b"goes on from there" in errors
        assert not list(target.rglob("w.gguf"))
        server.files[path] = Served(body)
        done = run(command, environment)
    assert done.returncode == 0, done.stderr
    landed = Path(done.stdout.decode().strip())
    assert landed == target / "tiny" / "w.gguf" and landed.read_bytes() == body
    assert "range" in server.asked(path)[-1].headers


# The interactive terminal


def test_a_conversation_and_its_commands(environment: dict[str, str], tmp_path: Path) -> None:
    saved = tmp_path / "talk.json"
    with Session(["chat", "--demo", "--system", "Be brief."], environment) as session:
        session.ask("first")
        session.expect("first\r\n")
        session.expect("/4096")
        session.ask("/system")
        session.expect("Be brief.")
        session.ask("second")
        session.expect("/4096")
        session.ask(f"/save {saved}")
        session.expect("Saved 4 messages")
        session.ask("/undo")
        session.expect("Taken back: second")
        session.ask("!!regen")
        session.expect("first\r\n")
        session.expect("/4096")
        session.ask("/reset")
        session.ask("/regen")
        session.expect("nothing to answer again")
        session.ask(f"/load {saved}")
        session.expect("Loaded 4 messages")
        session.ask("/params temperature 0.25")
        session.expect("temperature = 0.25")
        session.ask("/params temperature warm")
        session.expect("is a number")
        session.ask("/model nonesuch")
        session.expect("Known models: demo")
        session.ask("/model")
        session.expect("* demo")
        session.ask("/frobnicate")
        session.expect("There is no command /frobnicate. /help")
        session.ask("/help")
        session.expect("/regen")
        session.ask("exit")
        assert session.end() == 0
    assert [message["role"] for message in json.loads(saved.read_text("utf-8"))["messages"]] == ["system", *["user", "assistant"] * 2]


@pytest.mark.parametrize("leave", ["exit", "/exit", "!!exit", "quit"])
def test_ways_to_leave(environment: dict[str, str], leave: str) -> None:
    with Session(["chat", "--demo"], environment) as session:
        session.ask(leave)
        assert session.end() == 0


def test_ctrl_c_stops_the_answer_first_and_leaves_second(environment: dict[str, str], catalog: str, tmp_path: Path) -> None:
    saved = tmp_path / "part.json"
    with Session(["chat", "--models", catalog, "--model", "long"], environment) as session:
        session.ask("go")
        session.expect("BEGIN")
        session.send(CTRL_C)
        session.expect("[stopped: the text so far is kept]")
        session.ask(f"/save {saved}")
        session.expect("Saved 2 messages")
        session.expect(">>> ")
        session.send(CTRL_C)
        assert session.end() == 0
    answer = json.loads(saved.read_text("utf-8"))["messages"][1]["parts"][0]["text"]
    assert answer.startswith("BEGIN") and len(answer) < len("word " * 2000)


def test_ctrl_c_in_a_line_drops_the_line_only(environment: dict[str, str]) -> None:
    with Session(["chat", "--demo"], environment) as session:
        session.expect(">>> ")
        session.send("never sent")
        session.expect("never sent")
        session.send(CTRL_C)
        session.ask("sent")
        session.expect("sent\r\n")
        session.expect("/4096")
        session.expect(">>> ")
        session.send(CTRL_D)
        assert session.end() == 0


def test_several_lines_are_one_message(environment: dict[str, str], tmp_path: Path) -> None:
    saved = tmp_path / "talk.json"
    with Session(["chat", "--demo"], environment) as session:
        session.ask('"""/one')
        session.expect("... ")
        session.send('two"""\r')
        session.expect("/4096")
        session.ask(f"/save {saved}")
        session.expect("Saved")
        session.ask("exit")
        session.end()
    assert json.loads(saved.read_text("utf-8"))["messages"][0] == to_json(user("/one\ntwo"))


def test_the_history_comes_back_and_is_private(environment: dict[str, str]) -> None:
    pytest.importorskip("readline", reason="this system has no readline: there is no history")
    with Session(["chat", "--demo"], environment) as session:
        session.ask("remember me")
        session.expect("/4096")
        session.ask("exit")
        assert session.end() == 0
    history = Path(environment["PUYU_DATA_DIR"]) / "terminal_history"
    assert history.stat().st_mode & 0o077 == 0
    with Session(["chat", "--demo"], environment) as session:
        session.expect(">>> ")
        session.send(UP + UP)
        session.expect("remember me")
        session.send(CTRL_C)
        session.expect(">>> ")
        session.send(CTRL_D)
        assert session.end() == 0


def test_a_full_context_drops_whole_old_turns_and_says_so(environment: dict[str, str], catalog: str) -> None:
    with Session(["chat", "--models", catalog, "--model", "tight"], environment) as session:
        session.ask("a question of some length")
        session.expect("/40")
        session.ask("another question of some length")
        session.expect("The context is full: the oldest 1 turn is left out.")
        session.expect("yes")
        session.ask("exit")
        assert session.end() == 0


def test_a_loaded_conversation_must_be_one(environment: dict[str, str], tmp_path: Path) -> None:
    part = {"type": "Image", "path": "/etc/passwd", "sha256": "", "width": 1, "height": 1, "detail": "auto"}
    picture = {"role": "user", "name": None, "parts": [part]}
    (tmp_path / "picture.json").write_text(json.dumps({"version": 1, "messages": [picture]}), "utf-8")
    (tmp_path / "torn.json").write_text('{"version": 1, "mess', "utf-8")
    with Session(["chat", "--demo"], environment) as session:
        for name, complaint in (("picture.json", "not text"), ("torn.json", "no JSON"), ("missing.json", "cannot be read")):
            session.ask(f"/load {tmp_path / name}")
            session.expect(complaint)
        session.ask("exit")
        assert session.end() == 0
