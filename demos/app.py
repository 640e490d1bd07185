"""The page: header, tabs, settings sidebar, and how it is served. Knows each tab by its folder's name only.

Gradio is imported here, in cards.py, components.py, conversation.py, labels.py, parts.py, theme.py and in each tab's ui.py, cards.py,
panel.py and api.py, and nowhere else.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue

import gradio as gr
from gradio import networking
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from demos import api, cards
from demos.head import PageHead
from demos.labels import i18n, label
from demos.security import SecurityHeaders
from demos.tab import App, Tab
from demos.theme import theme
from models.jobs import Jobs
from models.registry import Registry
from shared.errors import BadRequest
from shared.settings import Settings
from shared.version import VERSION

TABS = ("chat", "agent", "vision", "writing", "hub")
FOLDER = Path(__file__).parent
FIRST_PORT, PORTS = 7860, 100
SHARE_WAIT = 4.0  # seconds the start waits for a public link before it says that there is none yet


def chosen_tabs(setting: str) -> tuple[str, ...]:
    """The tabs of `--tabs`, in page order; all for an empty setting. Raises `BadRequest` for an unknown name."""
    asked = [name.strip() for name in setting.split(",") if name.strip()]
    unknown = [name for name in asked if name not in TABS]
    if unknown:
        raise BadRequest(f"There is no tab {', '.join(unknown)}.", f"Tabs are: {', '.join(TABS)}.")
    return tuple(name for name in TABS if name in asked or not asked)


def load_tab(name: str) -> Tab:
    tab: Tab = importlib.import_module(f"demos.{name}.ui").TAB
    return tab


def build(app: App) -> gr.Blocks:
    """The page with the tabs that the settings ask for."""
    names = chosen_tabs(app.settings.tabs)
    tabs = [load_tab(name) for name in names]
    with gr.Blocks(title="Puyu Studio 浦语工坊", delete_cache=(600, 86400), fill_width=True, analytics_enabled=False) as page:
        with gr.Sidebar(position="right", open=False, elem_id="settings", width=340) as sidebar:
            cards.page_controls()
        with gr.Row(elem_id="bar"):
            cards.brand()
            pill = cards.model_pill()
            cards.settings_button()
        news = cards.model_news()
        app = replace(app, sidebar=sidebar, pill=pill, news=news, page=page, browser_secret=browser_secret(app.settings), tabs=names)
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap"):
            for tab in tabs:
                with gr.Tab(label(f"tab.{tab.id}"), id=tab.id, elem_id=f"tab-{tab.id}"):
                    tab.build(app)
    page.queue(default_concurrency_limit=None, max_size=64)
    return page


def serve(settings: Settings, registry: Registry, start_model: str) -> int:
    """Serve the page until Ctrl-C or SIGTERM; returns the exit code. Raises `BadRequest` for a port in use and the like."""
    users = accounts(settings.auth)
    port = free_port(settings.address, settings.port)
    jobs = Jobs(registry)
    app = App(registry, settings, start_model, jobs)
    page = build(app)
    stopped = _on_signal()
    launch(page, app, port=port, users=users)
    try:
        _say(start_lines(settings, page.server_port, os.environ))
        if settings.share and not os.environ.get("SPACE_ID"):
            _share(page)
        _until_told(stopped)
    finally:
        jobs.close()
        app.ends.close()
        registry.close()  # before the page: answers in flight end, so the server has nothing to wait for
        page.close(verbose=False)
    return 0


def launch(page: gr.Blocks, app: App, *, port: int, users: list[tuple[str, str]] | None = None) -> None:
    """Start the server in the background, with everything that is not Gradio's default. ZeroGPU needs this to be `Blocks.launch`."""
    settings = app.settings
    routes: list[BaseRoute] = [*api.routes(app.registry, VERSION), *app.routes]
    head = Middleware(PageHead, settings=settings, tabs=chosen_tabs(settings.tabs))
    headers = Middleware(SecurityHeaders, on_space=bool(os.environ.get("SPACE_ID")))
    page.launch(
        server_name=settings.address, server_port=port, root_path=settings.root_path or None, auth=users, inbrowser=settings.inbrowser,
        share=False, prevent_thread_lock=True, quiet=True, ssr_mode=False, run_history=False, pwa=False, mcp_server=False,
        state_session_capacity=300, max_threads=200, max_file_size="20mb", footer_links=[], favicon_path=FOLDER / "assets" / "favicon.png",
        theme=theme(), i18n=i18n(),
        app_kwargs={"routes": routes, "middleware": [headers, head], "docs_url": None, "redoc_url": None, "openapi_url": None},
    )  # fmt: skip


def browser_secret(settings: Settings) -> str:
    """What encrypts the conversations browsers keep: made once, kept in the data folder, so a restart does not lose them."""
    path = settings.data_path / "browser-secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(secrets.token_urlsafe(24))
    except FileExistsError:
        pass  # made at an earlier start
    return path.read_text("utf-8")


def accounts(auth: str) -> list[tuple[str, str]] | None:
    """`u1:p1,u2:p2` as pairs, None for an empty setting. Raises `BadRequest`."""
    if not auth:
        return None
    pairs = [tuple(item.strip().split(":", 1)) for item in auth.split(",") if item.strip()]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise BadRequest("--auth is not of the form user:password.", "Several are separated by commas: u1:p1,u2:p2.")
    return [(pair[0], pair[1]) for pair in pairs]


def free_port(address: str, port: int) -> int:
    """`port` itself, or for 0 the first free one from 7860 on. Raises `BadRequest` where it is in use or the address is not ours."""
    for candidate in [port] if port else range(FIRST_PORT, FIRST_PORT + PORTS):
        if _can_bind(address, candidate):
            return candidate
    if port:
        raise BadRequest(f"Port {port} is in use.", "Choose another with --port, or leave it out for the next free one.")
    raise BadRequest(f"No port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free.", "Give one with --port.")


def start_lines(settings: Settings, port: int, environment: Mapping[str, str]) -> list[str]:
    """What is printed once the page is up: what was set, where the page is, how to reach it over SSH, what strangers can do."""
    host = "127.0.0.1" if settings.address in ("0.0.0.0", "::") else settings.address
    host = f"[{host}]" if ":" in host else host
    lines = [f"Settings:\n{settings.describe()}"] if settings.describe() else []
    lines.append(f"Puyu Studio {VERSION} is at http://{host}:{port}{settings.root_path}")
    if environment.get("SSH_CONNECTION"):
        login = f"{environment.get('USER') or 'user'}@{environment['SSH_CONNECTION'].split()[2]}"
        lines.append(f"From your own computer: ssh -CNg -L {port}:127.0.0.1:{port} {login}   then open http://127.0.0.1:{port}")
    if settings.public and not settings.auth and not environment.get("SPACE_ID"):
        lines.append("Warning: anybody who can reach this address can use the page. Set --auth user:password to ask for a login.")
    return lines


def _can_bind(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name != "nt":  # there the option would let two programs listen on one port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except socket.gaierror as error:
            raise BadRequest(f"There is no address {address}.", "Check --host; 127.0.0.1 is this machine only.") from error
        except PermissionError as error:
            raise BadRequest(f"Port {port} needs more rights.", "Choose one above 1023 with --port.") from error
        except OverflowError as error:
            raise BadRequest(f"{port} is no port.", "Ports go from 1 to 65535.") from error
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise BadRequest(f"{address} is not an address of this machine.", "Check --host; --listen means all of them.") from error
            return False
    return True


def _share(page: gr.Blocks) -> None:
    """Ask for a public link in the background; say within `SHARE_WAIT` seconds whether there is one."""
    done = threading.Event()

    def tunnel() -> None:
        try:
            link = networking.setup_tunnel(page.server_name, page.server_port, page.share_token, None, None)
            page.share_url = link.replace("http://", "https://", 1)
            _say([f"Public link: {page.share_url}   (lasts up to a week, while this program runs)"])
        except (RuntimeError, OSError, ValueError) as error:
            _say([f"No public link: {str(error).splitlines()[0]} The page works at the address above."])
        finally:
            done.set()

    threading.Thread(target=tunnel, daemon=True, name="share").start()
    if not done.wait(SHARE_WAIT):
        _say(["No public link yet: the tunnel server does not answer. The page works at the address above; a link is printed if it comes."])


def _on_signal() -> SimpleQueue[int]:
    """Ctrl-C and SIGTERM from now on, as they come. Not an Event: its lock is no lock for a handler, which can interrupt its own wait
    while that holds it, and then waits for ever; putting into a SimpleQueue is safe there."""
    stopped: SimpleQueue[int] = SimpleQueue()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, _: stopped.put(received))
    return stopped


def _until_told(stopped: SimpleQueue[int]) -> None:
    while True:
        with contextlib.suppress(Empty):
            stopped.get(timeout=0.5)  # because Windows does not interrupt an endless wait
            return


def _say(lines: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
