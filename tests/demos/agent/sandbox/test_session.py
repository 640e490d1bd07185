"""What a session gives: state, pictures, tables, files, streams; and what it takes no more than its limits of."""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path

import pytest

from demos.agent import sandbox
from demos.agent.sandbox.session import Session
from shared.engine import Cancel
from shared.errors import BadRequest
from tests.demos.agent.sandbox.conftest import Opener

FOREVER = "while True: pass"
STUBBORN = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"


def test_cells_share_their_state(session: Session) -> None:
    session.run("x = 40")
    assert session.run("x + 2").text == "42"
    assert [(item.name, item.type, item.preview) for item in session.variables()] == [("x", "int", "40")]


def test_an_error_is_told_and_state_stays(session: Session) -> None:
    session.run("x = 1")
    result = session.run("def f():\n    return 1 / 0\nf()")
    assert result.error == "ZeroDivisionError: division by zero" and not result.state_lost
    assert "Traceback" in result.text and "return 1 / 0" in result.text
    assert session.run("x").text == "1"
    assert "SyntaxError" in (session.run("def (").error or "")


def test_a_figure_comes_back(session: Session) -> None:
    result = session.run("%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 4, 9])\nplt.title('收入')\nplt.show()")
    (image,) = result.images
    assert (image.width, image.height) == (640, 480) and Path(image.path).read_bytes().startswith(b"\x89PNG")
    assert result.error is None
    huge = session.run("plt.figure(figsize=(100, 100), dpi=300); plt.plot([1]); 0")
    assert huge.images[0].width * huge.images[0].height <= 4_000_000
    assert len(session.run("for n in range(14): plt.figure()").images) == 10


def test_a_table_is_text(session: Session) -> None:
    assert session.run("import pandas as pd\npd.DataFrame({'城市': ['上海'], 'n': [3]})").text.split() == ["城市", "n", "0", "上海", "3"]


def test_files_come_back_as_copies(session: Session) -> None:
    result = session.run(
        "import os\nos.mkdir('out')\nopen('out/a.csv', 'w').write('1,2')\nopen('b.bin', 'wb').write(b'x' * 3_000_000); None"
    )
    assert [(path.name, path.stat().st_size) for path in result.files] == [("b.bin", 3_000_000), ("a.csv", 3)]
    assert session.run("1").files == ()
    assert [path.read_text() for path in session.run("open('out/a.csv', 'a').write(',3'); None").files] == ["1,2,3"]
    assert [file.name for file in session.files()] == ["b.bin", "out/a.csv"]


def test_links_are_no_files(session: Session) -> None:
    result = session.run("import os\nos.symlink('/etc/passwd', 'plot.png')\nos.symlink('/etc', 'folder')")
    assert result.files == () and result.error is None
    assert session.files() == ()


def test_an_upload_is_there(session: Session) -> None:
    assert session.upload("../../数据.csv", io.BytesIO(b"a,b\n" * 600_000)) == "数据.csv"
    assert session.run("len(open('数据.csv').read())").text == "2400000"
    assert session.run("1").files == ()
    with pytest.raises(BadRequest, match="no file name"):
        session.upload("..", io.BytesIO(b""))


def test_an_upload_does_not_follow_a_link(session: Session) -> None:
    session.run("import os; os.symlink('/tmp/elsewhere', 'data.csv')")
    with pytest.raises(BadRequest, match="work folder"):
        session.upload("data.csv", io.BytesIO(b"x"))


def test_an_uploaded_module_does_not_replace_a_package(session: Session) -> None:
    session.upload("json.py", io.BytesIO(b"raise SystemExit"))
    assert session.run("import json; json.dumps(1)").text == "'1'"


def test_output_is_streamed(session: Session) -> None:
    pieces: list[str] = []
    result = session.run("import time, os\nprint('一', flush=True); time.sleep(0.3)\nos.write(1, b'two\\n'); 3", on_output=pieces.append)
    assert len(pieces) >= 2 and "".join(pieces) == "一\ntwo\n3\n"
    assert result.text == "一\ntwo\n3"


def test_much_output_is_shortened_and_a_flood_is_stopped(opened: Opener) -> None:
    session = opened(text=1000, flood=1_000_000)
    result = session.run("print('a' * 5000 + 'end')")
    assert result.text.startswith("a" * 800) and result.text.endswith("end") and "characters left out" in result.text
    flooded = session.run("x = 1\nwhile True: print('y' * 100)")
    assert flooded.error == "KeyboardInterrupt" and "printed too much" in flooded.text and len(flooded.text) < 2000
    assert session.run("x").text == "1"


def test_orders_to_a_terminal_are_taken_out(session: Session) -> None:
    assert session.run(r"print('\x1b[31mred\x1b[0m \x1b]0;title\x07 10%\r 20%\x00')").text == " 20%\N{REPLACEMENT CHARACTER}"


def test_time_is_limited_and_state_kept(session: Session) -> None:
    result = session.run(f"x = 7\n{FOREVER}", timeout=0.5)
    assert result.error == "KeyboardInterrupt" and not result.state_lost and "longer than 0.5 seconds" in result.text
    assert session.run("x").text == "7"


def test_who_does_not_heed_the_interrupt_is_killed(opened: Opener) -> None:
    session = opened(grace=0.3)
    result = session.run(STUBBORN, timeout=0.3)
    assert result.state_lost and "did not heed the interrupt" in result.text and result.error
    after = session.run("1 + 1")
    assert after.text == "2" and not after.state_lost


@pytest.mark.parametrize("by", ["cancel", "interrupt"])
def test_stop_from_another_thread(session: Session, by: str) -> None:
    cancel = Cancel()
    stop = cancel.set if by == "cancel" else session.interrupt
    result = session.run(f"print('begun')\n{FOREVER}", timeout=30, on_output=lambda _: stop(), cancel=cancel)
    assert result.error == "KeyboardInterrupt" and "it was stopped" in result.text and not result.state_lost


def test_memory_is_limited_and_state_kept(session: Session) -> None:
    session.run("x = 1")
    result = session.run("b = bytearray(8 << 30)")
    assert result.error == "MemoryError" and session.run("x").text == "1"


def test_threads_and_files_are_limited(session: Session) -> None:
    started = "import threading, time\nn = 0\ntry:\n  for n in range(3000): threading.Thread(target=time.sleep, args=(0.5,)).start()\n"
    assert 20 <= int(session.run(f"{started}except RuntimeError: pass\ntime.sleep(1); print(n)").text) <= 110
    assert "File too large" in (session.run("f = open('big', 'wb')\nfor n in range(65): f.write(bytes(1 << 20))").error or "")
    opened = "fs = []\ntry:\n  while True: fs.append(open('/dev/null'))\nexcept OSError: print(len(fs))"
    assert int(session.run(opened).text) < 256


FILL = """import os
for n in range(200):
  f = open('f%d' % n, 'w+b')
  {unlink}
  f.write(os.urandom(1 << 20))
  f.flush()
  fs.append({keep})
"""


@pytest.mark.parametrize(
    ("unlink", "keep"),
    [("0", "0"), ("os.unlink('f%d' % n)", "f"), ("os.unlink('f%d' % n)", "mmap.mmap(f.fileno(), 0, prot=1)")],
    ids=["plain", "unlinked", "unlinked and mapped"],
)
def test_the_disk_is_limited(opened: Opener, unlink: str, keep: str) -> None:
    session = opened(disk=20 << 20, file=2 << 20)
    code = "import mmap, time\nfs = []\n" + FILL.format(unlink=unlink, keep=keep)
    result = session.run(code + "time.sleep(5); print('all written')", timeout=20)
    assert "No space left" in (result.error or "") or (result.state_lost and "files took more than 20 MiB" in result.text)


def test_the_number_of_files_is_limited(opened: Opener) -> None:
    result = opened(files=500).run("import time\nfor n in range(600): open('f%d' % n, 'w').close()\ntime.sleep(5)")
    assert result.state_lost and "more than 500 files" in result.text


def test_a_crash_is_told(session: Session) -> None:
    result = session.run("import ctypes; ctypes.string_at(0)")
    assert result.state_lost and "SIGSEGV" in result.text
    assert session.run("import os; os._exit(3)").error == "KernelEnded: it ended with status 3"
    assert session.run("'alive'").text == "'alive'"


@pytest.mark.parametrize(
    "forged", ['b"no json\\n"', 'b"[1]\\n"', 'b"x" * (13 << 20)', 'b"[" * 100000 + b"\\n"', 'b\'{"kind": 1, "number": "a"}\\n\''],
    ids=["no JSON", "a list", "endless", "deep", "wrong types"],
)  # fmt: skip
def test_forged_answers_end_the_kernel(session: Session, forged: str) -> None:
    code = f"import os\nfor fd in range(3, 5000):\n  try:\n    data = {forged} if os.fstat(fd).st_ino != os.fstat(1).st_ino else b''\n"
    code += "    while data:\n      data = data[os.write(fd, data):]\n  except OSError: pass"
    result = session.run(code, timeout=5)
    assert result.state_lost and ("malformed" in result.text or "answered too much" in result.text)
    assert session.run("1").text == "1"


def test_forged_names_stay_in_their_folder(session: Session) -> None:
    """A worker that lies about its files is asked for none of them outside, and none is written outside."""
    lie = "import worker\nworker.Server._files = lambda self: [['../../evil', 3, 1], ['/etc/passwd', 3, 1], ['ok', -1, 1], [1], 5]"
    result = session.run(lie)
    assert result.files == () and not list(Path(session._folder).rglob("evil"))


def test_threads_rest_between_cells(session: Session) -> None:
    session.run("import threading\ndef spin():\n  while True: pass\nthreading.Thread(target=spin, daemon=True).start()")
    state = Path(f"/proc/{session.pid}/stat")
    give_up = time.monotonic() + 10
    while (found := state.read_text().rsplit(")", 1)[1].split()[0]) != "T" and time.monotonic() < give_up:
        time.sleep(0.02)
    assert found == "T"


def test_its_environment_is_its_own(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    session.restart()
    text = session.run("import os; sorted(os.environ.items())").text
    assert "canary" not in text and "HF_TOKEN" not in text
    assert session.run("os.getcwd() == os.environ['HOME']").text == "True"


def test_it_is_another_process(session: Session) -> None:
    assert session.pid not in (0, os.getpid()) and session.run("'demos' in __import__('sys').modules").text == "False"


def test_restart_is_fresh(session: Session) -> None:
    session.run("x = 1; open('f', 'w').close()")
    session.restart()
    result = session.run("x")
    assert result.error and "NameError" in result.error and not result.state_lost and session.files() == ()


def test_programs_and_packages_are_refused_in_words(session: Session) -> None:
    for code in ("!ls", "%pip install x", "!pip install x"):
        assert "Other programs cannot be started" in (session.run(code).error or "")


def test_what_works_inside(session: Session) -> None:
    code = """
import asyncio, concurrent.futures, shutil, sqlite3, tempfile, zipfile, numpy as np, pandas as pd
db = sqlite3.connect('x.db'); db.execute('create table t (a)'); db.commit()
with zipfile.ZipFile('x.zip', 'w') as z: z.writestr('a', 'b')
shutil.copy('x.zip', 'y.zip'); shutil.copy2('x.zip', 'z.zip')
with tempfile.NamedTemporaryFile() as f: f.write(b'x')
with concurrent.futures.ThreadPoolExecutor(4) as pool: assert list(pool.map(abs, [-1])) == [1]
async def one(): return 1
assert await one() == 1 and (await asyncio.gather(one(), one())) == [1, 1]
assert np.linalg.inv(np.eye(200)).sum() == 200 and pd.DataFrame({'a': [1, 2]}).a.sum() == 3
'fine'
"""
    result = session.run(code)
    assert result.text == "'fine'" and len(result.files) == 4


def test_bad_requests(session: Session) -> None:
    with pytest.raises(BadRequest, match="characters long"):
        session.run("#" * 2_000_000)
    session.close()
    with pytest.raises(BadRequest, match="closed"):
        session.run("1")


def test_closing_ends_a_running_cell(opened: Opener) -> None:
    session = opened()
    begun = threading.Event()
    results: list[sandbox.Result] = []
    thread = threading.Thread(
        target=lambda: results.append(session.run(f"print(1)\n{FOREVER}", timeout=50, on_output=lambda _: begun.set()))
    )
    thread.start()
    assert begun.wait(30)
    pid = session.pid
    session.close()
    thread.join(20)
    assert results[0].state_lost and not Path(f"/proc/{pid}").exists()


CHINESE_PLOT = """
import io, warnings, matplotlib, matplotlib.pyplot as plt
from matplotlib import font_manager
def boxes(settings):
    plt.rcdefaults()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        plt.rcParams.update(settings)
        plt.figure(); plt.plot([-2, 1]); plt.title("收入与支出 −1"); plt.xlabel("年份", fontweight="bold")
        plt.savefig(io.BytesIO()); plt.close()
    return sorted({str(warning.message) for warning in told})
fonts = {font.name for font in font_manager.fontManager.ttflist}
"""
USUAL = [
    "", "'font.sans-serif': ['SimHei']", "'font.family': 'SimHei'", "'font.family': ['Microsoft YaHei', 'sans-serif']",
    "'font.sans-serif': ['Arial Unicode MS', 'SimHei'], 'axes.unicode_minus': False", "'font.sans-serif': ['PingFang SC']",
    "'font.family': 'sans-serif'", "'font.family': 'serif', 'font.serif': ['SimSun']", "'font.family': 'monospace'",
    "**matplotlib.style.library['seaborn-v0_8']",
]  # fmt: skip


@pytest.mark.parametrize("settings", USUAL)
def test_chinese_in_a_plot_is_no_boxes(session: Session, settings: str) -> None:
    """As models write it for every machine: with a font that is not installed here. Without any Chinese font there is nothing to draw."""
    there = session.run(
        f"{CHINESE_PLOT}sorted(fonts & {{'Noto Sans CJK SC', 'Noto Sans CJK JP', 'WenQuanYi Micro Hei', 'PingFang SC'}})"
    ).text
    told = session.run(f"boxes({{{settings}}})")
    assert told.error is None
    if there == "[]":
        assert "Glyph 25910" in told.text
    else:
        assert told.text == "[]"
