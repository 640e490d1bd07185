"""The child process behind a GGUF: what is refused before it starts, what it may know, how it ends. On the real default model."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import select
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from models import gguf, local
from models.backends import llama_cpp
from shared.engine import Cancel, Cancelled, ModelSpec, Sampling
from shared.errors import BadRequest, ModelUnavailable
from shared.events import Done, TextDelta
from shared.messages import Message, system, user
from tests import gguf_file

ROOT = Path(__file__).resolve().parents[3]
GREEDY = Sampling(temperature=0, max_tokens=16)
FRANCE = [user("What is the capital of France?")]
STORY = [user("Tell me a long story about the sea.")]
SECRETS = {"HF_TOKEN": "hf_" + "x" * 20, "OPENAI_API_KEY": "sk-" + "y" * 20, "DATABASE_PASSWORD": "z" * 20, "my_secret": "w" * 20}

started: list[str] = []  # every program this process has started, since this module was imported


def _on_audit(event: str, arguments: tuple[object, ...]) -> None:
    if event == "subprocess.Popen":
        started.append(str(arguments[1]))


sys.addaudithook(_on_audit)


@dataclass(frozen=True)
class Loaded:
    """An engine and the process that holds its model."""

    engine: llama_cpp.LlamaCpp
    pid: int


def children() -> set[int]:
    """The processes whose parent we are."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def load(spec: ModelSpec, path: Path, cancel: Cancel | None = None) -> Loaded:
    engine = llama_cpp.load(spec, path, on_progress=lambda progress: None, cancel=cancel or Cancel())
    return Loaded(engine, engine._child._process.pid)


def text_of(engine: llama_cpp.LlamaCpp, *, sampling: Sampling = GREEDY) -> str:
    return "".join(event.text for event in engine.stream(FRANCE, sampling) if isinstance(event, TextDelta))


@pytest.fixture(scope="module")
def small_spec(default_spec: ModelSpec) -> ModelSpec:
    return dataclasses.replace(default_spec, parallel=1, context=256, options={"threads": 1})


@pytest.fixture(scope="module")
def loaded(small_spec: ModelSpec, default_gguf: Path) -> Iterator[Loaded]:
    os.environ.update(SECRETS)
    try:
        found = load(small_spec, default_gguf)
    finally:
        for name in SECRETS:
            del os.environ[name]
    yield found
    found.engine.close()


# ---- refused before anything is started ------------------------------------------------------------------------------------


def refused(spec: ModelSpec, path: Path, match: str = "not a usable GGUF") -> ModelUnavailable:
    before = len(started)
    with pytest.raises(ModelUnavailable, match=match) as raised:
        load(spec, path)
    assert started[before:] == []
    assert raised.value.remedy and path.name in raised.value.cause
    return raised.value


def test_the_hook_sees_what_is_started() -> None:
    before = len(started)
    subprocess.run([sys.executable, "-c", ""], check=True)
    assert len(started) == before + 1


@pytest.mark.parametrize("share", [0.001, 0.5, 0.9999])
def test_a_truncated_file(default_spec: ModelSpec, default_gguf: Path, tmp_path: Path, share: float) -> None:
    cut = tmp_path / "cut.gguf"
    shutil.copyfile(default_gguf, cut)
    os.truncate(cut, int(default_gguf.stat().st_size * share))
    refused(default_spec, cut)


@pytest.mark.parametrize(
    ("at", "what"), [(0, "magic"), (4, "version"), (15, "number of tensors"), (23, "number of keys"), (31, "length of a key")]
)
def test_a_flipped_header(default_spec: ModelSpec, default_gguf: Path, tmp_path: Path, at: int, what: str) -> None:
    flipped = tmp_path / "flipped.gguf"
    shutil.copyfile(default_gguf, flipped)
    with flipped.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x40]))
    refused(default_spec, flipped)


@pytest.mark.parametrize("content", [b"", b"GGUF", secrets.token_bytes(4096), b"GGUF\x03\0\0\0" + secrets.token_bytes(4096)])
def test_no_gguf_at_all(default_spec: ModelSpec, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "random.gguf"
    path.write_bytes(content)
    refused(default_spec, path)


def test_no_file(default_spec: ModelSpec, tmp_path: Path) -> None:
    refused(default_spec, tmp_path / "nothing.gguf", "There is no model at")


def with_user_defined_marks(content: bytes) -> bytes:
    """The GGUF with its control tokens declared as user defined ones, which llama.cpp finds in any text."""
    key = b"tokenizer.ggml.token_type"
    at = content.index(key) + len(key) + 16  # behind the types and the count of the array
    (count,) = struct.unpack_from("<Q", content, at - 8)
    kinds = struct.unpack_from(f"<{count}i", content, at)
    assert kinds.count(3) > 10
    changed = struct.pack(f"<{count}i", *(4 if kind == 3 else kind for kind in kinds))
    return content[:at] + changed + content[at + len(changed) :]


@pytest.mark.model
def ids_of(engine: llama_cpp.LlamaCpp, *messages: Message) -> list[int]:
    return engine._ids(engine._pieces(messages, ()))


def test_a_template_that_is_no_chatml(default_gguf: Path, tmp_path: Path) -> None:
    """The default model with another template of the same length in its header: what it asks for is what the model reads."""
    header = gguf.read_header(default_gguf)
    ours = header.template.encode()
    other = b"{% for m in messages %}[{{ m.role }}] {{ m.content }}<|endoftext|>{% endfor %}"
    other += b"{% if add_generation_prompt %}[answer]{% endif %}"
    content = default_gguf.read_bytes()
    assert content.count(ours) == 1 and "<|endoftext|>" in header.marks
    path = tmp_path / "other.gguf"
    content = with_user_defined_marks(content)
    path.write_bytes(content.replace(ours, other + b"{#" + b" " * (len(ours) - len(other) - 4) + b"#}"))
    spec = local.spec_of_path(path)
    assert spec.dialect == "template" and spec.default_system == "" and "tools" not in spec.capabilities
    engine = load(spec, path).engine
    for mark in ("<|endoftext|>", "<repo_name>"):
        assert mark in gguf.read_header(path).marks
        (token_id,) = engine._tokens(mark, True)
        assert ids_of(engine, user(mark)).count(token_id) == ids_of(engine, user("x")).count(token_id)
    text = [
        event.text for event in engine.stream([user("Say: blue")], Sampling(temperature=0, max_tokens=8)) if isinstance(event, TextDelta)
    ]
    engine.close()
    assert "".join(text).strip()


def test_a_file_that_only_looks_right_fails_in_the_child_with_its_log(default_spec: ModelSpec, tmp_path: Path) -> None:
    path = tmp_path / "hollow.gguf"
    path.write_bytes(gguf_file.gguf())
    before = children()
    with pytest.raises(ModelUnavailable, match="could not be loaded") as raised:
        llama_cpp.load(default_spec, path, on_progress=lambda progress: None, cancel=Cancel())
    assert raised.value.log and "damaged" in raised.value.remedy
    assert children() <= before


# ---- what the child knows --------------------------------------------------------------------------------------------------


def test_the_key_is_not_where_other_users_look(loaded: Loaded) -> None:
    arguments = Path(f"/proc/{loaded.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    assert arguments == [sys.executable.encode(), b"-P", str(ROOT / "models/backends/llama_child.py").encode()]
    key = loaded.engine._child._key
    assert len(key) >= 32
    assert key.encode() not in Path(f"/proc/{loaded.pid}/environ").read_bytes()


def test_no_secret_of_ours_is_in_its_environment(loaded: Loaded) -> None:
    environment = Path(f"/proc/{loaded.pid}/environ").read_bytes().decode()
    assert "PATH=" in environment
    for name, value in SECRETS.items():
        assert name not in environment and value not in environment


def test_a_wrong_key_is_refused(loaded: Loaded) -> None:
    address, body = loaded.engine._child.address, {"content": "hi", "prompt": "hi", "n_predict": 1}
    for key in (None, "x", "wrong", loaded.engine._child._key[:-1]):
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        for path in ("/completion", "/tokenize"):
            assert httpx.post(address + path, json=body, headers=headers, trust_env=False).status_code == 401
    right = {"Authorization": f"Bearer {loaded.engine._child._key}"}
    assert httpx.post(f"{address}/tokenize", json=body, headers=right, trust_env=False).status_code == 200


def test_it_listens_on_this_machine_only(loaded: Loaded) -> None:
    assert loaded.engine._child.address.startswith("http://127.0.0.1:")


# ---- asking ----------------------------------------------------------------------------------------------------------------


def test_it_knows_the_capital_of_france(loaded: Loaded) -> None:
    assert "Paris" in text_of(loaded.engine)


def test_a_conversation_that_is_too_long_is_refused_with_numbers(loaded: Loaded) -> None:
    long = [user("word " * 2000)]
    tokens = loaded.engine.count(long)
    with pytest.raises(BadRequest, match=f"takes {tokens:,} tokens, and smollm2-135m-instruct reads at most 256"):
        list(loaded.engine.stream(long, GREEDY))
    assert text_of(loaded.engine)  # and it goes on


def test_a_path_takes_its_dialect_from_its_own_template(loaded: Loaded, default_gguf: Path) -> None:
    spec = dataclasses.replace(local.spec_of_path(default_gguf), context=256, parallel=1, options={"threads": 1})
    assert (spec.dialect, spec.backend, spec.licence) == ("chatml", "llama_cpp", "apache-2.0")
    assert spec.default_system.startswith("You are a helpful AI assistant")
    found = load(dataclasses.replace(spec, dialect="internlm2"), default_gguf)  # whatever a catalog says of it
    try:
        prompt = [system("Be brief."), *FRANCE]
        assert ids_of(found.engine, *prompt) == ids_of(loaded.engine, *prompt)  # internlm2 would begin with <s>
        assert text_of(found.engine)
    finally:
        found.engine.close()


# ---- how it ends -----------------------------------------------------------------------------------------------------------


def ended(process: int, seconds: int = 60) -> bool:
    """Whether that process ends; the bound is for a test that fails."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def test_a_child_killed_in_mid_answer(small_spec: ModelSpec, default_gguf: Path) -> None:
    found = load(small_spec, default_gguf)
    try:
        stream = found.engine.stream(STORY, Sampling(temperature=0, max_tokens=200))
        next(event for event in stream if isinstance(event, TextDelta))
        os.kill(found.pid, signal.SIGKILL)
        with pytest.raises(ModelUnavailable, match="stopped working") as raised:
            list(stream)
        assert "-9" in raised.value.cause and "Ask again" in raised.value.remedy and raised.value.log
        with pytest.raises(ModelUnavailable, match="stopped working"):
            list(found.engine.stream(FRANCE, GREEDY))
    finally:
        found.engine.close()


def test_close_ends_the_process(small_spec: ModelSpec, default_gguf: Path) -> None:
    found = load(small_spec, default_gguf)
    process = os.pidfd_open(found.pid)
    found.engine.close()
    assert ended(process) and found.pid not in children()
    os.close(process)


def test_a_load_that_is_cancelled_leaves_no_process(small_spec: ModelSpec, default_gguf: Path) -> None:
    before, cancel = children(), Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        load(small_spec, default_gguf, cancel)
    assert children() <= before


PARENT = """
import sys
from pathlib import Path
from models import local
from models.backends import llama_cpp
from shared.engine import Cancel
path = Path(sys.argv[1])
engine = llama_cpp.load(local.spec_of_path(path), path, on_progress=lambda progress: None, cancel=Cancel())
print(engine._child._process.pid, flush=True)
sys.stdin.read()
"""


def test_the_child_ends_with_a_parent_that_is_killed(default_gguf: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(default_gguf)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            child = os.pidfd_open(int(parent.stdout.readline()))
        finally:
            parent.send_signal(signal.SIGKILL)
    assert ended(child)
    os.close(child)


def test_a_stop_in_the_answer_leaves_the_child_for_the_next_question(loaded: Loaded) -> None:
    cancel, events = Cancel(), []
    for event in loaded.engine.stream(STORY, Sampling(temperature=0, max_tokens=150), cancel=cancel):
        events.append(event)
        if isinstance(event, TextDelta):
            cancel.set()
    assert isinstance(events[-1], Done) and events[-1].reason == "cancelled"
    assert "Paris" in text_of(loaded.engine)
