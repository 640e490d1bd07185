"""One visitor's files, kernel and tools, through the workshop as the page has it; the sandbox is the real one."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demos.agent import sandbox
from demos.agent.policy import Approved
from demos.agent.sandbox import Limits, Session, WorkFile, folders
from demos.agent.sandbox.permission import Permission
from demos.agent.tools import TOOLS
from demos.agent.visitor.kernel import Kernel
from demos.agent.visitor.workfolder import Room, WorkFolder
from demos.agent.visitor.workshop import Workshop, Workshops
from shared.chatml import INTERPRETER
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest
from shared.settings import Settings
from tests.demos.agent.sandbox.conftest import TIERS
from tests.demos.agent.sandbox.test_lifecycle import gone

BOTH = (INTERPRETER, "ReadFile")


class Sessions:
    """Opens real sessions and remembers them: for what the page cannot see."""

    def __init__(self, **limits: Any) -> None:
        self.all: list[Session] = []
        self._limits = Limits(**limits)

    def __call__(self, *, unsafe: bool = False) -> Session:
        session = sandbox.open_session(unsafe=unsafe, limits=self._limits)
        self.all.append(session)
        return session

    @property
    def pids(self) -> list[int]:
        return [session.pid for session in self.all]


@pytest.fixture(scope="module", autouse=True)
def isolated() -> None:
    if sandbox.tier() == "none":
        pytest.skip("; ".join(sandbox.examination().reasons))


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


@pytest.fixture
def workshops(sessions: Sessions) -> Iterator[Workshops]:
    found = Workshops(Settings(), open_session=sessions)
    assert found.permission(None) == Permission(True)
    yield found
    found.close_all()
    assert names_left() == []


def names_left() -> list[str]:
    return [path.name for path in folders.base().iterdir() if path.name != folders.LOCK]


def run(workshop: Workshop, code: str, cancel: Cancel | None = None) -> Any:
    return workshop.toolbox(BOTH).call(INTERPRETER, {"command": code}, cancel=cancel or Cancel())


def read(workshop: Workshop, name: str) -> str:
    return workshop.toolbox(BOTH).call("ReadFile", {"path": name}, cancel=Cancel()).text


def put(workshop: Workshop, name: str, text: str) -> str:
    return workshop.upload(name, io.BytesIO(text.encode()))


def until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    give_up = time.monotonic() + seconds
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.02)
    return condition()


# --- one workshop


def test_files_and_kernel_of_one_conversation(workshops: Workshops, sessions: Sessions) -> None:
    """One kernel through its whole life: nothing of it starts before code runs, files go both ways, and what it made outlives it."""
    workshop = workshops.of("a")
    toolbox = workshop.toolbox(BOTH)
    assert [spec.name for spec in toolbox.specs()] == list(BOTH)
    assert workshop.variables() == () and workshop.files() == () and not workshop.folder.exists()
    workshop.restart()
    workshop.interrupt()
    put(workshop, "before.txt", "early")
    assert read(workshop, "before.txt") == "early" and not sessions.all

    outcome = run(workshop, "x = open('before.txt').read()\nopen('made.txt', 'w').write(x * 2)\nimport os\nos.makedirs('out')")
    assert not outcome.error and outcome.files == ("made.txt",) and len(sessions.all) == 1
    assert read(workshop, "made.txt") == "earlyearly"
    assert [(variable.name, variable.type) for variable in workshop.variables()] == [("os", "module"), ("x", "str")]

    put(workshop, "after.txt", "late")
    put(workshop, "before.txt", "replaced")
    assert run(workshop, "print(open('after.txt').read(), open('before.txt').read(), x)").text == "late replaced early"
    run(workshop, "open('before.txt', 'a').write('!'); open('out/deep.txt', 'w').write('deep')")
    assert read(workshop, "before.txt") == "replaced!"
    assert workshop.files() == (
        WorkFile("after.txt", 4), WorkFile("before.txt", 9), WorkFile("made.txt", 10), WorkFile("out/deep.txt", 4),
    )  # fmt: skip
    assert workshop.fetch("out/deep.txt").read_text("utf-8") == "deep"

    picture = run(workshop, "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()").images[0]
    os.kill(sessions.pids[0], signal.SIGKILL)
    assert until(lambda: bool(sessions.all[0].ended()))
    assert workshop.variables() == ()
    told = run(workshop, "print(open('out/deep.txt').read(), open('before.txt').read(), 'x' in dir())")
    assert "ended by SIGKILL" in told.text and "variables are lost" in told.text and "deep replaced! False" in told.text
    workshop.restart()
    again = run(workshop, "print(open('made.txt').read(), 'x' in dir())")
    assert again.text == "earlyearly False" and len(sessions.all) == 1  # as asked for: nothing is reported as lost
    assert Path(picture.path).read_bytes().startswith(b"\x89PNG")
    workshops.close("a")
    assert workshop.closed(30) and not Path(picture.path).exists() and names_left() == []


def test_a_cell_is_interrupted_and_a_stopped_call_keeps_its_state(workshops: Workshops, sessions: Sessions) -> None:
    workshop = workshops.of("a")
    assert not run(workshop, "x = 1").error
    outcomes: list[Any] = []
    cell = "x = 2\nopen('began', 'w').close()\nwhile True: pass"
    thread = threading.Thread(daemon=True, target=lambda: outcomes.append(run(workshop, cell)))
    thread.start()
    assert until(lambda: workshop.busy)
    assert [(variable.name, variable.preview) for variable in workshop.variables()] == []  # as of before: a look does not wait
    time.sleep(0.3)
    workshop.interrupt()
    thread.join(30)
    assert "it was stopped" in outcomes[0].text and run(workshop, "print(x)").text == "2"
    cancel = Cancel()
    threading.Timer(0.3, cancel.set).start()
    assert "KeyboardInterrupt" in run(workshop, "while True: pass", cancel).text
    assert run(workshop, "print(x)").text == "2" and not workshop.busy


def test_a_kernel_that_kills_itself_has_its_files_again(workshops: Workshops) -> None:
    workshop = workshops.of("a")
    put(workshop, "a.txt", "kept")
    died = run(workshop, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert died.error and "lost" in died.text
    assert run(workshop, "print(open('a.txt').read())").text == "kept"


@pytest.mark.parametrize("tier", ["A", "B"])
def test_in_every_tier_files_come_back_to_where_they_were(tier: str, tmp_path: Path) -> None:
    if sandbox.tier(TIERS[tier]) != tier:
        pytest.skip("; ".join(sandbox.examination(TIERS[tier]).reasons))
    sessions: list[Session] = []

    def opening() -> Session:
        sessions.append(sandbox.open_session(machine=TIERS[tier]))
        return sessions[-1]

    kernel = Kernel(opening, WorkFolder(tmp_path / "root"))
    made = kernel.run("import os\nos.makedirs('out/files')\nopen('out/files/deep 数.txt', 'w').write('deep')")
    assert made.files == (Path("out/files/deep 数.txt"),) and not made.state_lost
    os.kill(sessions[0].pid, signal.SIGKILL)
    assert until(lambda: bool(sessions[0].ended()))
    again = kernel.run("print(open('out/files/deep 数.txt').read())")
    assert again.text.endswith("\ndeep") and again.state_lost and again.files == ()
    kernel.restart()
    assert kernel.run("open('out/files/deep 数.txt', 'a').write('er')").files == made.files
    kernel.close()


def test_what_would_fill_the_disk_is_not_put_back(sessions: Sessions, tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path / "root", Room(total=100))
    kernel = Kernel(sessions, folder)
    folder.upload("b.txt", io.BytesIO(b"x" * 60))
    assert not kernel.run("open('a.txt', 'w').write('x' * 60)").error
    os.kill(sessions.pids[0], signal.SIGKILL)
    assert until(lambda: bool(sessions.all[0].ended()))
    told = kernel.run("import os\nprint(sorted(name for name in os.listdir() if name[0] != '.'))")
    assert "(a.txt is not in the work folder: the files take more than 0 MiB)" in told.text and "['b.txt']" in told.text
    assert kernel.run("1").text == "1"  # said once
    kernel.close()


def test_tools_are_those_that_are_offered(workshops: Workshops) -> None:
    workshop = workshops.of("a")
    assert [spec.name for spec in workshop.toolbox(["Calculator", "Calculator"]).specs()] == ["Calculator"]
    assert workshop.toolbox([]).specs() == ()
    with pytest.raises(BadRequest, match="no tool Screwdriver here") as refused:
        workshop.toolbox(["Calculator", "Screwdriver"])
    assert "ArxivSearch, IPythonInterpreter" in refused.value.remedy


# --- several


def test_two_at_once_share_nothing(workshops: Workshops, sessions: Sessions) -> None:
    one, two = workshops.of("one"), workshops.of("two")
    assert workshops.of("one") is one
    put(one, "mine.txt", "of one")
    texts: dict[str, str] = {}
    threads = [
        threading.Thread(target=lambda shop=shop, name=name: texts.update({name: run(shop, f"x = {name!r}\nopen(x, 'w').write(x)").text}))
        for name, shop in (("one", one), ("two", two))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(sessions.pids)) == 2 and one.folder != two.folder
    assert run(one, "print(x)").text == "one" and run(two, "print(x)").text == "two"
    assert [file.name for file in one.files()] == ["mine.txt", "one"] and [file.name for file in two.files()] == ["two"]
    assert "no file 'mine.txt'" in read(two, "mine.txt") and "FileNotFoundError" in run(two, "open('mine.txt')").text
    with pytest.raises(BadRequest):
        two.fetch("mine.txt")
    assert "outside" in read(two, f"../../{one.folder.parent.name}/files/mine.txt")
    pids = sessions.pids
    workshops.close("one")
    assert one.closed(30) and sorted(map(bool, sessions.pids)) == [False, True]
    assert gone(pids[sessions.pids.index(0)]) and run(two, "print(x)").text == "two" and set(sessions.pids) - {0} <= set(pids)


def test_twenty_leave_no_process_and_no_file(workshops: Workshops, sessions: Sessions) -> None:
    threads, shops, pids = set(threading.enumerate()), [], []
    for number in range(20):
        shop = workshops.of(str(number))
        put(shop, "a.txt", "x")
        if number % 4 == 0:
            assert run(shop, "open('b.txt', 'w').write('y'); print(1)").text == "1"
            pids.append(sessions.pids[-1])
        workshops.close(str(number))
        workshops.close(str(number))
        shops.append(shop)
    assert all(shop.closed(30) for shop in shops) and len(pids) == 5
    assert all(map(gone, pids)) and names_left() == []
    assert until(lambda: {thread for thread in threading.enumerate() if thread.name != "sandbox-keeper"} <= threads)


def test_closing_while_code_runs_ends_it_within_seconds(workshops: Workshops, sessions: Sessions) -> None:
    workshop = workshops.of("a")
    assert not run(workshop, "1").error
    [pid] = sessions.pids
    code = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    thread = threading.Thread(daemon=True, target=run, args=(workshop, code))
    thread.start()
    assert until(lambda: workshop.busy)
    workshops.close("a")
    assert workshop.closed(10) and gone(pid, 5)
    thread.join(10)
    assert not thread.is_alive() and names_left() == []
    with pytest.raises(BadRequest, match="was closed"):
        put(workshop, "a.txt", "x")
    assert "was closed" in run(workshop, "1").text and workshop.variables() == ()
    assert workshops.of("a") is not workshop


def test_closing_while_the_kernel_is_opened_leaves_none(sessions: Sessions) -> None:
    opening, go_on = threading.Event(), threading.Event()

    def slowly(*, unsafe: bool) -> Session:
        opening.set()
        assert go_on.wait(30)
        return sessions(unsafe=unsafe)

    workshops = Workshops(Settings(), open_session=slowly)
    workshop = workshops.of("a")
    outcomes: list[Any] = []
    thread = threading.Thread(daemon=True, target=lambda: outcomes.append(run(workshop, "print('ran')")))
    thread.start()
    assert opening.wait(30)
    workshops.close("a")  # returns at once, though the end has to wait
    assert not workshop.closed(0)
    go_on.set()
    thread.join(30)
    assert workshop.closed(30) and "was closed" in outcomes[0].text and sessions.pids == [0] and names_left() == []


def test_it_survives_the_thread_that_opened_it(workshops: Workshops, sessions: Sessions) -> None:
    workshop = workshops.of("a")
    for code in ("x = 1", "x += 1"):
        thread = threading.Thread(daemon=True, target=run, args=(workshop, code))
        thread.start()
        thread.join()
    [pid] = sessions.pids
    assert run(workshop, "print(x)").text == "2" and sessions.pids == [pid]


def test_pictures_of_a_kernel_that_idled_out_are_still_there() -> None:
    sessions = Sessions(idle=4.0)  # longer than a start takes
    workshops = Workshops(Settings(), open_session=sessions)
    workshop = workshops.of("a")
    [picture] = run(workshop, "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nopen('a.txt', 'w').write('a')").images
    assert until(lambda: bool(sessions.all[0].ended()))
    assert Path(picture.path).is_file() and read(workshop, "a.txt") == "a"
    assert "not used for" in run(workshop, "print(open('a.txt').read())").text and Path(picture.path).is_file()
    workshops.close_all()
    assert not Path(picture.path).exists() and names_left() == []


def test_there_are_never_more_than_fit_and_the_least_missed_goes() -> None:
    workshops = Workshops(Settings(), most=3)
    old, waiting, empty = workshops.of("old"), workshops.of("waiting"), workshops.of("empty")
    put(old, "a.txt", "x")
    cancel = Cancel()

    def ask() -> None:
        with pytest.raises(Cancelled):
            waiting.desk.ask("call_1", cancel, lambda: None)

    thread = threading.Thread(daemon=True, target=ask)
    thread.start()
    assert until(lambda: waiting.busy)
    new = workshops.of("new")
    put(new, "b.txt", "x")
    assert workshops.of("old") is old and workshops.of("waiting") is waiting  # `empty` went
    workshops.of("newer")
    assert workshops.of("old") is old and workshops.of("waiting") is waiting
    assert empty.closed(30) and new.closed(30) and names_left() == [old.folder.parent.name]
    cancel.set()
    thread.join()
    workshops.close_all()
    assert names_left() == []


def test_thousands_of_visits_leave_nothing() -> None:
    workshops = Workshops(Settings())
    threads = threading.active_count()
    for number in range(2000):
        workshops.of(str(number))
    assert names_left() == [] and until(lambda: threading.active_count() <= threads + 1)
    workshops.close_all()


def test_each_has_a_desk_of_its_own() -> None:
    workshops = Workshops(Settings())
    assert workshops.of("a").desk is workshops.of("a").desk is not workshops.of("b").desk
    assert workshops.of("a").desk.decide("call_1", Approved()) is False
    workshops.close_all()


# --- where code may run


def test_what_is_offered_is_known_without_waiting_for_the_sandbox() -> None:
    judged = threading.Event()

    def slowly() -> sandbox.Tier:
        assert judged.wait(30)
        return "A"

    workshops = Workshops(Settings(), tier=slowly)
    assert INTERPRETER not in [tool.name for tool in workshops.offered()] and workshops.permission() is None
    assert workshops.permission(0.01) is None
    judged.set()
    assert workshops.permission(None) == Permission(True) == workshops.permission() and workshops.offered() == TOOLS


def test_where_no_code_may_run_there_is_no_interpreter(sessions: Sessions) -> None:
    workshops = Workshops(Settings(listen=True), open_session=sessions, tier=lambda: "none")
    found = workshops.permission(None)
    assert found is not None and not found.allowed and found.reason
    assert INTERPRETER not in [tool.name for tool in workshops.offered()]
    with pytest.raises(BadRequest, match="no tool IPythonInterpreter"):
        workshops.of("a").toolbox([INTERPRETER])
    assert not sessions.all
    workshops.close_all()


def test_the_owner_s_wish_reaches_the_sandbox() -> None:
    asked: list[bool] = []

    def refusing(*, unsafe: bool) -> Session:
        asked.append(unsafe)
        raise sandbox.SandboxUnavailable("There is no kernel today.", "Try tomorrow.")

    workshops = Workshops(Settings(unsafe_code_interpreter=True), open_session=refusing, tier=lambda: "none")
    outcome = run(workshops.of("a"), "1")
    assert asked == [True] and outcome.error and "no kernel today" in outcome.text
    workshops.close_all()


def test_a_sandbox_that_cannot_be_examined_is_an_error_and_no_permission() -> None:
    def broken() -> sandbox.Tier:
        raise OSError("no more processes")

    workshops = Workshops(Settings(), tier=broken)
    with pytest.raises(OSError, match="no more processes"):
        workshops.permission(None)
