"""The page as it is served: what it prints, its routes, headers and head, ports, logins, tabs, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from demos import api, app
from demos.head import PageHead
from demos.security import SecurityHeaders
from models.backends.scripted import Scripted
from models.registry import Registry
from shared.engine import Cancel, Engine, ModelSpec, OnProgress, Progress
from shared.errors import BadRequest
from shared.settings import Settings
from tests.no_files import NoFiles

ROOT = Path(__file__).resolve().parents[2]
SPEC = ModelSpec("m", "scripted", (), capabilities=frozenset({"text"}), context=512)


# ---- what it takes to start ------------------------------------------------------------------------------------------------


def test_tabs_are_chosen_in_page_order_and_an_unknown_one_is_refused() -> None:
    assert app.chosen_tabs("") == app.TABS
    assert app.chosen_tabs(" chat ,") == ("chat",)
    with pytest.raises(BadRequest, match="no tab agnet"):
        app.chosen_tabs("chat,agnet")


def test_accounts() -> None:
    assert app.accounts("") is None
    assert app.accounts("ann:1, bob:a:b") == [("ann", "1"), ("bob", "a:b")]
    for wrong in ("ann", "ann:", ":secret", "ann:1,bob"):
        with pytest.raises(BadRequest, match="user:password"):
            app.accounts(wrong)


def test_a_port_in_use_is_refused_when_asked_for_and_passed_over_otherwise() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadRequest, match="is in use"):
            app.free_port("127.0.0.1", taken.getsockname()[1])
    assert app.free_port("127.0.0.1", 0) in range(app.FIRST_PORT, app.FIRST_PORT + app.PORTS)


@pytest.mark.parametrize(("address", "port", "cause"), [("192.0.2.1", 7860, "not an address of this"), ("127.0.0.1", 70000, "is no port")])
def test_an_impossible_address_is_refused(address: str, port: int, cause: str) -> None:
    with pytest.raises(BadRequest, match=cause):
        app.free_port(address, port)


def test_start_lines_tell_where_how_and_what_strangers_can_do() -> None:
    assert app.start_lines(Settings(), 7860, {})[-1].endswith("is at http://127.0.0.1:7860")
    over_ssh = "\n".join(app.start_lines(Settings(), 7861, {"SSH_CONNECTION": "10.0.0.2 50000 10.0.0.9 22", "USER": "ann"}))
    assert "ssh -CNg -L 7861:127.0.0.1:7861 ann@10.0.0.9" in over_ssh
    assert "Warning: anybody" in "\n".join(app.start_lines(Settings(listen=True), 7860, {}))
    assert "Warning" not in "\n".join(app.start_lines(Settings(listen=True, auth="a:b"), 7860, {}))
    told = "\n".join(app.start_lines(Settings(auth="ann:secret", origins={"auth": "flag"}), 7860, {}))
    assert "secret" not in told and "auth = ********" in told


# ---- routes and middleware -------------------------------------------------------------------------------------------------


def test_healthz_answers_while_a_model_loads() -> None:
    may_load, loading = threading.Event(), threading.Event()

    def load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
        loading.set()
        assert may_load.wait(20)
        return Scripted(spec)

    registry = Registry([SPEC], files=NoFiles(), load=load)
    stages: list[Progress] = []

    def use() -> None:
        with registry.lease("m", on_progress=stages.append):
            pass

    user = threading.Thread(target=use)
    user.start()
    assert loading.wait(20)
    with TestClient(Starlette(routes=api.routes(registry, "9.9"))) as client:
        assert client.get("/healthz").json() == {"status": "ok", "version": "9.9", "models": []}
        may_load.set()
        user.join(20)
        assert client.get("/healthz").json()["models"] == ["m"]
    registry.close()


def test_pictures_are_served_behind_a_proxy_that_strips_its_prefix_and_nothing_else_is() -> None:
    registry = Registry([SPEC], files=NoFiles())
    with TestClient(Starlette(routes=api.routes(registry, "9.9")), root_path="/studio") as client:
        assert client.get("/puyu/seal.svg").status_code == 200
        for name in ("nothing", "..%2Fapp.py", "%2e%2e/app.py"):
            assert client.get(f"/puyu/{name}").status_code == 404


def small_site(settings: Settings, *, on_space: bool = False) -> TestClient:
    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse("<html><head><title>x</title></head><body>é</body></html>")

    async def data(request: Request) -> JSONResponse:
        return JSONResponse({"html": "<head>"})

    async def stream(request: Request) -> StreamingResponse:
        return StreamingResponse(iter([b"data: 1\n\n", b"data: 2\n\n"]), media_type="text/event-stream")

    middleware = [Middleware(SecurityHeaders, on_space=on_space), Middleware(PageHead, settings=settings, tabs=("chat",))]
    return TestClient(Starlette(routes=[Route("/", page), Route("/data", data), Route("/stream", stream)], middleware=middleware))


def test_every_answer_carries_the_policy_and_only_a_space_may_frame_the_page() -> None:
    policy = small_site(Settings()).get("/data").headers["content-security-policy"]
    assert "img-src 'self' data: blob:" in policy and "form-action 'self'" in policy and policy.endswith("frame-ancestors 'self'")
    on_space = small_site(Settings(), on_space=True).get("/").headers["content-security-policy"]
    assert on_space.endswith("frame-ancestors 'self' https://huggingface.co")


def test_streams_pass_unbuffered_and_json_untouched() -> None:
    answer = small_site(Settings()).get("/stream")
    assert answer.headers["x-accel-buffering"] == "no" and answer.text == "data: 1\n\ndata: 2\n\n"
    assert small_site(Settings()).get("/data").json() == {"html": "<head>"}


def head_facts(page: str) -> dict[str, object]:
    facts: dict[str, object] = json.JSONDecoder().raw_decode(page.split("window.pz=", 1)[1])[0]
    return facts


def test_the_head_comes_first_and_follows_the_choice_of_language() -> None:
    client = small_site(Settings())
    page = client.get("/", headers={"accept-language": "zh-CN"})
    assert page.text.startswith("<html><head><style>") and page.text.endswith("<body>é</body></html>")
    assert int(page.headers["content-length"]) == len(page.content)
    assert head_facts(page.text)["html"] == "zh-CN"
    assert head_facts(client.get("/?lang=en", headers={"accept-language": "zh"}).text)["lang"] == "en"
    client.cookies.set("puyu_lang", "en")
    assert head_facts(client.get("/", headers={"accept-language": "zh"}).text)["lang"] == "en"


def test_the_head_names_no_other_host() -> None:
    page = small_site(Settings()).get("/").text.replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in page and "https://" not in page


# ---- the whole program -----------------------------------------------------------------------------------------------------


@contextmanager
def program(*flags: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "launch.py", "--demo", *flags]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, env=os.environ | environment) as process:
        try:
            yield process
        finally:
            process.kill()


def line_with(process: subprocess.Popen[str], text: str) -> str:
    """The next line of its output that has `text`; fails when the output ends before."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return line
    assert process.stderr is not None
    raise AssertionError(f"{text!r} was never printed: {process.stderr.read()}")


def test_it_serves_until_it_is_told_to_stop() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with program() as process:
            url = line_with(process, "is at http").split(" is at ")[1].strip()
            with urllib.request.urlopen(f"{url}/healthz") as answer:
                assert json.load(answer)["status"] == "ok"
            if number == signal.SIGTERM:
                with urllib.request.urlopen(url) as answer:
                    assert head_facts(answer.read().decode())["tabs"] == list(app.TABS)
                with urllib.request.urlopen(f"{url}/puyu/mountains.webp") as answer:
                    assert answer.read(4) == b"RIFF"
            process.send_signal(number)
            assert process.wait(30) == 0
            assert process.stderr is not None and process.stderr.read() == ""


AT_ANY_MOMENT = """
import signal, sys, threading, os
from demos import app
stopped = app._on_signal()
def trace(frame, event, argument):
    if frame.f_code.co_filename == threading.__file__:
        sys.settrace(None)
        signal.raise_signal(signal.SIGTERM)
    return trace
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
sys.settrace(trace)
app._until_told(stopped)
sys.settrace(None)
print("told")
"""


def test_a_signal_in_the_middle_of_the_wait_for_it_is_heard() -> None:
    """The handler runs in the thread that waits: where the wait holds a lock at that moment, the handler must not need it."""
    done = subprocess.run([sys.executable, "-c", AT_ANY_MOMENT], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "told\n", done.stderr


def test_a_port_in_use_ends_with_one_line_and_code_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with program("--port", str(taken.getsockname()[1])) as process:
            assert process.wait(60) == 2
            assert process.stderr is not None and process.stderr.read().count("\n") == 1


def test_share_without_a_way_out_says_so_and_the_page_works() -> None:
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # takes the connection and never answers: a firewall that swallows packets
        closed.bind(("127.0.0.1", 0))  # not listening: refuses
        for proxy, told in ((silent, "No public link yet"), (closed, "No public link: ")):
            address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
            with program("--share", HTTPS_PROXY=address, https_proxy=address) as process:
                url = line_with(process, "is at http").split(" is at ")[1].strip()
                line_with(process, told)
                with urllib.request.urlopen(f"{url}/healthz") as answer:
                    assert answer.status == 200
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
