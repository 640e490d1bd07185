"""The page of models as a visitor uses it, on the real default model in a folder of its own."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator

from tests.browser.conftest import App, Visitor
from tests.servers import Served, Server
from tests.tiny_models import script_folder

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]
MODEL = "smollm2-135m-instruct"
CATALOG = """
[[model]]
id = "slow"
backend = "llama_cpp"
size_bytes = 4000000
source = [{ kind = "hf", ref = "org/slow", revision = "main", files = ["slow.gguf"] }]

[[model]]
id = "gone"
backend = "llama_cpp"
licence = '<img src=x onerror="document.title=1">${document.title=2}'
source = [{ kind = "hf", ref = "org/gone", revision = "main", files = ["gone.gguf"] }]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, default_gguf: Path) -> Path:
    """A models folder that tests may delete from."""
    root = tmp_path_factory.mktemp("models")
    shutil.copytree(default_gguf.parent, root / MODEL)
    return root


@pytest.fixture(scope="module")
def hub_app(start_app: Callable[..., App], folder: Path) -> App:
    return start_app("--models-dir", str(folder))


class Hub:
    """The page of models of one visitor."""

    def __init__(self, visitor: Visitor, url: str) -> None:
        self.visitor, self.page = visitor, visitor.page
        self.page.goto(f"{url}#hub")
        self.page.reload()  # the address alone changes no page
        self.page.locator(".pz-hub[data-ready]").wait_for(timeout=60_000)

    def row(self, model_id: str) -> Locator:
        return self.page.locator(f'.pz-model[data-id="{model_id}"]')

    def button(self, model_id: str, key: str) -> Locator:
        return self.row(model_id).locator(f'[data-key="{key}"]')

    def press(self, model_id: str, key: str) -> None:
        self.button(model_id, key).click()

    def wait(self, model_id: str, key: str) -> None:
        """Until this row offers that button."""
        self.button(model_id, key).first.wait_for(timeout=60_000)

    def memory(self) -> str:
        return self.page.locator(".pz-memory").inner_text()


def test_the_plan_comes_before_the_load_and_everyone_sees_what_happens(hub_app: App, visit: Visit) -> None:
    first, second = Hub(visit(hub_app.url), hub_app.url), Hub(visit(hub_app.url), hub_app.url)
    assert MODEL not in first.memory()
    first.press(MODEL, "plan")
    plan = first.row(MODEL).locator(".pz-plan")
    assert "Before loading" in plan.inner_text() and "New model" in plan.inner_text() and "Fits," in plan.inner_text()
    assert first.page.evaluate("document.activeElement.dataset.key") == "load"
    first.press(MODEL, "load")
    first.wait(MODEL, "unload")
    second.wait(MODEL, "unload")
    assert MODEL in second.memory() and "Loaded" in second.row(MODEL).inner_text()
    first.page.locator("#pill").filter(has_text=MODEL).wait_for()
    second.press(MODEL, "unload")
    first.wait(MODEL, "plan")
    first.page.wait_for_function(f"!document.querySelector('.pz-memory').innerText.includes({json.dumps(MODEL)})")
    assert f"{MODEL}: On disk" in first.page.locator(".pz-hub-news").inner_text()


def test_a_redrawn_row_keeps_the_focus_and_what_is_open(hub_app: App, visit: Visit) -> None:
    first, second = Hub(visit(hub_app.url), hub_app.url), Hub(visit(hub_app.url), hub_app.url)
    first.button(MODEL, "details").focus()
    first.page.keyboard.press("Enter")
    first.row(MODEL).locator(".pz-details").wait_for()
    second.press(MODEL, "plan")
    second.press(MODEL, "load")
    first.wait(MODEL, "unload")
    assert first.row(MODEL).locator(".pz-details").is_visible()
    assert first.page.evaluate("document.activeElement.dataset.key") == "details"
    first.press(MODEL, "unload")
    first.wait(MODEL, "plan")


def test_a_download_shows_how_far_it_is_can_be_stopped_and_goes_on(
    start_app: Callable[..., App], visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = tmp_path / "mine.toml"
    catalog.write_text(CATALOG, "utf-8")
    slow = Served(bytes(4_000_000), pause=1.0, piece=65_536)  # a minute, were it not stopped
    with Server({"/org/slow/resolve/main/slow.gguf": slow}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        app = start_app("--models", str(catalog), "--models-dir", str(tmp_path / "models"))
        hub = Hub(visit(app.url), app.url)
        hub.press("slow", "download")
        hub.row("slow").locator(".pz-job-text").filter(has_text="from Hugging Face (127.0.0.1)").wait_for(timeout=60_000)
        hub.page.wait_for_function("Number(document.querySelector('.pz-job [role=progressbar]')?.ariaValueNow) > 3", timeout=60_000)
        hub.page.reload()
        hub.page.locator(".pz-hub[data-ready]").wait_for(timeout=60_000)
        hub.press("slow", "cancel")
        hub.wait("slow", "download")
        assert "of 4.0 MB is here" in hub.row("slow").inner_text() and hub.button("slow", "download").inner_text() == "Resume"
        slow.pause = 0.0
        hub.press("slow", "download")
        hub.wait("slow", "plan")
        assert [asked.headers["range"] for asked in server.asked("/org/slow/resolve/main/slow.gguf") if "range" in asked.headers]
        hub.press("gone", "download")
        card = hub.row("gone").locator(".pz-error")
        card.filter(has_text="404 Not Found").wait_for(timeout=60_000)
        hub.press("gone", "dismiss")
        card.wait_for(state="detached")
        hub.press("gone", "details")
        assert "<img src=x" in hub.row("gone").inner_text() and hub.page.title() not in ("1", "2")


def test_a_folder_is_added_and_answers(start_app: Callable[..., App], visit: Visit, tmp_path: Path) -> None:
    app = start_app("--models-dir", str(tmp_path / "models"))
    script_folder(tmp_path / "parrot", "Ship")
    hub = Hub(visit(app.url), app.url)
    hub.page.locator("[name=ref]").fill(str(tmp_path / "parrot"))
    hub.page.keyboard.press("Enter")
    hub.wait("parrot", "chat")
    hub.press("parrot", "chat")
    hub.page.locator("#chat-composer textarea").wait_for()
    hub.page.locator("#chat-model-line").filter(has_text="parrot").wait_for()
    hub.visitor.ask("Who are you?")
    hub.visitor.finished()
    assert hub.visitor.answers()[0].startswith("Ship")
    hub.page.goto(f"{app.url}#hub")
    hub.wait("parrot", "unload")
    hub.press("parrot", "ask:forget")
    assert "files stay where they are" in hub.row("parrot").locator(".pz-ask").inner_text()
    hub.press("parrot", "forget")
    hub.row("parrot").wait_for(state="detached")
    assert (tmp_path / "parrot" / "model.safetensors").is_file()


def test_a_chosen_model_that_somebody_removes_is_no_error(start_app: Callable[..., App], visit: Visit, tmp_path: Path) -> None:
    """A page can send the model that was just removed several times before it hears of it."""
    app = start_app("--models-dir", str(tmp_path / "models"))
    script_folder(tmp_path / "parrot", "Ship")
    hub = Hub(visit(app.url), app.url)
    hub.page.locator("[name=ref]").fill(str(tmp_path / "parrot"))
    hub.page.keyboard.press("Enter")
    hub.wait("parrot", "chat")
    hub.press("parrot", "chat")
    hub.page.locator("#chat-model-line").filter(has_text="parrot").wait_for()
    served(app, "hub_do", {"do": "forget", "id": "parrot", "ref": "", "lang": "en"})
    answered = "performance.getEntriesByType('resource').filter(e => e.name.endsWith('/run/predict')).length"
    before = hub.page.evaluate(answered)
    hub.page.evaluate("for (let i = 0; i < 8; i++) dispatchEvent(new CustomEvent('pz-models'))")
    hub.page.wait_for_function(f"{answered} >= {before} + 8 && !document.querySelector('#model-picker input').value.startsWith('parrot')")


def served(app: App, function: str, data: dict[str, str]) -> dict[str, object]:
    """A request as somebody writes it by hand."""
    with urllib.request.urlopen(f"{app.url}/config") as answer:
        hub = next(part["id"] for part in json.load(answer)["components"] if part["props"].get("elem_id") == "hub")
    body = json.dumps({"session_hash": "by hand", "component_id": hub, "fn_name": function, "data": data}).encode()
    request = urllib.request.Request(f"{app.url}/gradio_api/component_server", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def test_a_public_page_offers_no_buttons_and_refuses_hand_made_requests(start_app: Callable[..., App], visit: Visit, folder: Path) -> None:
    app = start_app("--listen", "--models-dir", str(folder))
    hub = Hub(visit(app.url), app.url)
    assert "visitors can look but not download" in hub.page.locator(".pz-hub-note").inner_text()
    assert hub.row(MODEL).locator(".pz-model-actions button").all_inner_texts() == ["Details"]
    assert not hub.page.locator(".pz-add").is_visible()
    assert str(folder) not in hub.page.content()
    for what in ("delete", "load", "add"):
        assert "cannot change" in json.dumps(served(app, "hub_do", {"do": what, "id": MODEL, "ref": str(folder), "lang": "en"}))
    assert (folder / MODEL).is_dir()


def test_another_site_cannot_press_our_buttons(hub_app: App, folder: Path) -> None:
    """A page somewhere else that makes the visitor's browser send the request: the browser says where it comes from."""
    with urllib.request.urlopen(f"{hub_app.url}/config") as answer:
        hub = next(part["id"] for part in json.load(answer)["components"] if part["props"].get("elem_id") == "hub")
    body = json.dumps({"session_hash": "x", "component_id": hub, "fn_name": "hub_do", "data": {"do": "delete", "id": MODEL}}).encode()
    request = urllib.request.Request(f"{hub_app.url}/gradio_api/component_server", body, {"Sec-Fetch-Site": "cross-site"})
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer)["error"] is not None
    assert (folder / MODEL).is_dir()


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_nothing_overflows(hub_app: App, visit: Visit, width: int) -> None:
    hub = Hub(visit(hub_app.url, viewport={"width": width, "height": 844}), hub_app.url)
    for key in ("details", "plan"):
        hub.press(MODEL, key)
        assert hub.page.evaluate("document.documentElement.scrollWidth") <= width


def test_delete_asks_says_what_it_frees_and_deletes(hub_app: App, visit: Visit, folder: Path) -> None:
    """Last: it takes the model away that the tests above use."""
    hub = Hub(visit(hub_app.url), hub_app.url)
    hub.press(MODEL, "details")
    hub.press(MODEL, "ask:delete")
    assert "This frees 98" in hub.row(MODEL).locator(".pz-ask").inner_text()
    assert hub.page.evaluate("document.activeElement.dataset.key") == "close"
    hub.press(MODEL, "close")
    assert (folder / MODEL).is_dir()
    hub.press(MODEL, "ask:delete")
    hub.press(MODEL, "delete")
    hub.wait(MODEL, "download")
    assert not (folder / MODEL).exists()
