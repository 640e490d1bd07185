"""Code that turns against the kernel it runs in and against whoever reads its answers: each time the application goes on as before."""

from __future__ import annotations

import io
import mmap
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from demos.agent import sandbox
from demos.agent.sandbox import disk
from demos.agent.sandbox.session import Session
from shared.engine import Cancel
from shared.errors import BadRequest
from tests.demos.agent.sandbox.conftest import TIERS, Opener

FORGE = """
import base64, json, os, stat
def pipes():
    for fd in range(3, 30):
        try: status = os.fstat(fd)
        except OSError: continue
        if stat.S_ISFIFO(status.st_mode) and status.st_ino not in (os.fstat(1).st_ino, os.fstat(2).st_ino): yield fd
def forge(data):
    for fd in pipes():
        try:
            left = data
            while left: left = left[os.write(fd, left):]
        except OSError: pass
def frames(kind, **fields):
    forge(b''.join(json.dumps({'kind': kind, 'number': n, **fields}).encode() + b'\\n' for n in range(1, 60)))
"""
EVIL = {
    "forged end with files in a file": FORGE
    + "open('a', 'w').write('x')\nframes('done', files=[['a', 1, 1], ['a/b', 1, 1], ['a/b/c', 1, 1]])",
    "forged end with a long list": FORGE + "frames('done', files=[['f%d' % n, 1 << 40, 1] for n in range(1000)], error=None)",
    "forged error": FORGE + r"frames('done', error='\x1b[2J\n\ud800' + 'x' * 100000, files=[[10 ** 400, 1, 1], ['n', 10 ** 400, 1]])",
    "forged pictures": FORGE + "frames('image', data=base64.b64encode(b'\\x89PNG\\r\\n\\x1a\\n' + b'x' * 9000).decode())",
    "a list of lists": FORGE + "forge(b'[' + b'[],' * 3_900_000 + b'[]]\\n')",
    "half a frame": FORGE + "forge(b'{\"kind\": \"done\"')",
    "its pipes closed": "import os; os.closerange(3, 100)",
    "all closed": "import os; os.closerange(0, 100)",
    "its pipes full of zeros": FORGE + "forge(bytes(1 << 20))",
    "not to wait for readers": FORGE + "[os.set_blocking(fd, False) for fd in (1, *pipes())]; print('x' * 1_000_000)",
    "reading its own requests": FORGE
    + "[os.set_blocking(fd, False) for fd in pipes()]\nfor fd in pipes():\n  try: os.read(fd, 9)\n  except OSError: pass",
    "a flood": "import os\nwhile True:\n  try: os.write(1, b'x' * 65536)\n  except BaseException: pass",
    "a flood of returns": "import os\nfor n in range(60): os.write(1, b'\\r\\x1b[' * 20000)",
    "str that raises": "class E(Exception):\n  def __str__(self): raise SystemExit(1)\n  __repr__ = __str__\nraise E",
    "str that hangs": "class E(Exception):\n  def __str__(self):\n    while True: pass\nraise E",
    "repr that hangs": "class R:\n  def __repr__(self):\n    while True:\n      try: sleep(9)\n      except BaseException: pass\nR()",
    "repr that prints": "class R:\n  def __repr__(self): print('y' * 100); return 5\nR()",
    "an error with half a character": r"raise ValueError('\ud800\x1b]0;title\x07')",
    "an endless cause": "e = ValueError()\ne.__cause__ = e\nraise e",
    "a deep group": "e = ValueError()\nfor _ in range(5000): e = ExceptionGroup('g', [e])\nraise e",
    "sys.exit": "import sys; sys.exit(3)",
    "exit": "exit()",
    "os._exit": "import os; os._exit(0)",
    "abort": "import os; os.abort()",
    "killing itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "an alarm": "import signal, time; signal.setitimer(signal.ITIMER_REAL, 0.01, 0.001); time.sleep(1)",
    "an alarm that raises": "import signal\ndef f(*a): raise SystemError\nsignal.signal(signal.SIGALRM, f)\n"
    "signal.setitimer(signal.ITIMER_REAL, .01, .001)\nimport time; time.sleep(1)",
    "deaf to the interrupt": "import signal\nsignal.signal(signal.SIGINT, lambda *a: None)\nwhile True: pass",
    "blocked signals": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
    "collected garbage that hangs": "import gc, time\ngc.set_threshold(1)\ngc.callbacks.append(lambda *a: time.sleep(60))",
    "a farewell that hangs": "import atexit, time; atexit.register(time.sleep, 60); raise SystemExit",
    "a trace of everything": "import sys, time\nsys.settrace(lambda *a: time.sleep(60))\ndef f(): pass\nf()",
    "no recursion limit": "import sys; sys.setrecursionlimit(10 ** 8)\ndef f(): f()\nf()",
    "builtins gone": "import builtins; builtins.print = builtins.open = builtins.len = builtins.isinstance = builtins.str = None",
    "json gone": "import json; json.dumps = json.loads = None",
    "os gone": "import os; os.write = os.walk = os.dup2 = None",
    "no modules": "import sys; sys.modules.clear()",
    "no streams": "import sys; sys.stdout = sys.stderr = sys.__stdout__ = None; print(1)",
    "streams closed": "import sys; sys.stdout.close(); sys.stderr.close()",
    "IPython turned": "ip = get_ipython(); ip.user_ns = 5; ip.display_pub = ip.displayhook = None; ip.events = None",
    "a hook after each cell": "get_ipython().events.register('post_run_cell', lambda r: 1 / 0)\n"
    "get_ipython().events.register('post_execute', exit)",
    "code rewritten": "get_ipython().ast_transformers.append(5); get_ipython().input_transformers_post.append(lambda lines: 1 / 0)",
    "endless figures": "import matplotlib.pyplot as plt; plt.get_fignums = lambda: iter(int, 1); plt.figure = lambda n: 1",
    "a figure that hangs": "import time, matplotlib.pyplot as plt; plt.figure().savefig = lambda *a, **k: time.sleep(60)",
    "an endless picture": "import matplotlib.pyplot as plt; plt.figure(figsize=(1e6, 1e6)); plt.figure(figsize=(1e5, .01)); 0",
    "variables that run code": "class M(type):\n  __module__ = __name__ = property(lambda s: 1 / 0)\n"
    "  def __eq__(s, o): 1 / 0\n  __hash__ = None\n"
    "class C(metaclass=M): pass\nc = C()\nclass S(str):\n  def startswith(s, x): 1 / 0\n  __lt__ = startswith\nglobals()[S('s')] = 1",
    "variables without end": "globals().update({'v%d' % n: 'x' * 10 ** 6 for n in range(300)}); globals()['\\ud800'] = globals()[5] = 1",
}  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
def test_the_application_goes_on(hardened: Session, name: str) -> None:
    result = hardened.run(EVIL[name], timeout=1)
    assert len(result.text) < 110_000 and len(result.error or "") <= 500
    (result.text + (result.error or "")).encode("utf-8")
    assert "\x1b" not in result.text and (result.error is None or result.error.isprintable())
    for path in (*result.files, *(Path(image.path) for image in result.images)):
        assert path.is_relative_to(hardened._folder / "out") and path.is_file() and not path.is_symlink()
    try:
        for row in hardened.variables():
            "".join((row.name, row.type, row.preview)).encode("utf-8")
    except BadRequest as error:  # the kernel was ended by it
        assert "ended" in error.cause
    if hardened.run("6 * 7", timeout=1).text != "42":  # what it did lasts, until somebody presses Restart
        hardened.restart()
        assert hardened.run("6 * 7").text == "42"


@pytest.fixture(scope="module")
def hardened(tier: str) -> Iterator[Session]:
    """One session for all of them, with a kernel that still computes."""
    with sandbox.open_session(machine=TIERS[tier], limits=replace(sandbox.Limits(), grace=0.3)) as session:
        yield session


def test_one_that_stops_itself_is_woken(session: Session) -> None:
    result = session.run("x = 1\nimport os, signal\nfor n in range(9): os.kill(os.getpid(), signal.SIGSTOP)\nwhile True: pass", timeout=1)
    assert result.error and not result.state_lost and session.run("x").text == "1"


def test_one_without_output_is_ended_and_told(opened: Opener) -> None:
    """Where nobody holds the other end of its output any more, which in tier A bubblewrap does."""
    session = opened()
    silence = "import os\nown = os.fstat(1).st_ino\nnull = os.open('/dev/null', os.O_WRONLY)\n"
    session.run(silence + "for fd in range(1, 30):\n  try:\n    if os.fstat(fd).st_ino == own: os.dup2(null, fd)\n  except OSError: pass")
    told = session.run("1")
    assert told.text == "" if session.isolation == "A" else told.state_lost and "closed its output" in told.text


def test_files_with_strange_names_stay(session: Session) -> None:
    code = """
import os
odd = b'a\\nb', b'\\x1b[31m', b'\\xff\\xfe', b'x' * 255, '\\u202e.txt'.encode()
for name in (*odd, b' ', b'..x', b'.hidden', b'a\\\\b', 'good 好.txt'.encode()):
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
os.makedirs('a/' * 12 + 'deep'); open('a/' * 12 + 'deep/f', 'w').close()
os.symlink('/etc', 'link'); os.symlink('good 好.txt', 'other')
"""
    result = session.run(code)
    assert {session.name_of(path) for path in result.files} == {"good 好.txt", " "}
    assert {file.name for file in session.files()} == {"good 好.txt", " "}


def test_many_and_empty_giants_come_back_as_far_as_there_is_room(session: Session) -> None:
    result = session.run("for n in range(40):\n  with open('sparse%02d' % n, 'wb') as f: f.truncate(20 << 20)")
    assert len(result.files) == 3 and sum(path.stat().st_size for path in result.files) <= 64 << 20
    assert result.text.count("\n") == 5 and "32 more files stay" in result.text


def test_hard_links_and_changing_files_are_bounded(session: Session) -> None:
    code = "import os\nopen('a', 'wb').write(b'x' * 1000)\nfor n in range(30): os.link('a', 'b%d' % n)\n"
    result = session.run(code)
    assert len(result.files) == 20 and all(path.stat().st_nlink == 1 for path in result.files)


def test_forks_are_none(session: Session) -> None:
    code = "import os\nn = 0\nfor _ in range(300):\n  try:\n    if os.fork() == 0: os._exit(0)\n    n += 1\n  except OSError: pass\nn"
    assert session.run(code).text == "0"


def test_processor_time_is_limited(opened: Opener) -> None:
    result = opened(cpu=2).run("while True: pass", timeout=30)
    assert result.state_lost and "more than 2 seconds of processor time" in result.text


def test_a_question_during_a_cell_is_answered_with_busy(session: Session) -> None:
    begun, results = threading.Event(), []
    thread = threading.Thread(
        target=lambda: results.append(session.run("print(1)\nwhile True: pass", timeout=50, on_output=lambda _: begun.set()))
    )
    thread.start()
    assert begun.wait(30)
    for ask in (session.variables, session.files, lambda: session.upload("f", io.BytesIO(b"x"))):
        with pytest.raises(sandbox.SessionBusy, match="busy with a cell"):
            ask()
    stopped = Cancel()
    stopped.set()
    assert "before it began" in session.run("2", cancel=stopped).text
    session.restart()  # ends the cell
    thread.join(20)
    assert results[0].error and session.run("3").text == "3"


def test_who_watches_badly_ends_the_cell(session: Session) -> None:
    def badly(text: str) -> None:
        raise LookupError(text)

    with pytest.raises(LookupError):
        session.run("print(1)\nwhile True: pass", on_output=badly)
    told = session.run("2")
    assert told.state_lost and "left alone" in told.text and told.text.endswith("2")


def test_closing_while_it_starts(opened: Opener) -> None:
    session = opened()
    failures: list[Exception] = []

    def run() -> None:
        try:
            session.run("import time; time.sleep(60)", timeout=60)
        except (sandbox.SandboxUnavailable, BadRequest) as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    session.close()
    thread.join(30)
    assert not thread.is_alive() and not session._folder.exists()


def test_mappings_without_end_are_not_read_for_ever(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(14):
        folder /= "d" * 250
        folder.mkdir()
    with open(folder / "f", "w+b") as file:
        file.truncate(mmap.PAGESIZE)
        maps = [mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=(1, 3)[n % 2]) for n in range(4000)]
    found = disk.usage(tmp_path, os.getpid(), most_files=100, file_size=1)
    assert found.hidden and len(maps) == 4000


def test_a_folder_that_pretends_to_be_flattened_is_removed(tmp_path: Path) -> None:
    box = tmp_path / "box"
    for name in (".flat-1", ".flat-2"):
        (box / name / "x").mkdir(parents=True)
    here = os.open(box / ".flat-1", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d" * 100, dir_fd=here)
        deeper = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    disk.remove(box)
    assert not box.exists()
