"""What the pictures beside the conversation ask the server: what lies on the desk, what it costs, and every change of it.

Every answer is JSON: the desk as it is then, or an `error` as the page shows it. What a page sends is checked here; a desk is found by
the key of its conversation. Knows no component.
"""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from demos.pictures.fetch import Fetch
from demos.pictures.images import Added
from demos.pictures.shelf import Shelf
from demos.strings import Strings
from demos.tab import App
from demos.view import refusal, writable
from demos.vision import cost, pdf
from demos.vision.cost import Cost
from demos.vision.desk import Desk
from models.memory.footprint import ENDPOINT_BACKENDS
from shared.engine import Cancel, Cancelled, Progress
from shared.errors import BadRequest, DemoError
from shared.messages import DETAILS, Detail, Image

logger = logging.getLogger(__name__)
COST_SECONDS = 1.0  # an engine that is busy for longer is not asked what pictures cost
SLOW = ("url", "pages", "take_pages")  # presses that may take half a minute
MOST_SENT = 200  # pictures of a conversation whose cost is asked for

Asked = Mapping[str, Any]


class Viewer:
    def __init__(self, app: App, shelf: Shelf[Desk], fetch: Fetch) -> None:
        self._app, self._shelf, self._fetch = app, shelf, fetch

    def now(self, asked: Asked, t: Strings) -> dict[str, Any]:
        """The desk: pictures of the next question, an open PDF, and the cost where the model can say it."""
        return self._told(asked, t, lambda desk: {})

    def do(self, asked: Asked, t: Strings) -> dict[str, Any]:
        """One press, and the desk after it."""
        actions: Mapping[str, Callable[[Desk, Asked], dict[str, Any] | None]] = {
            "url": self._url, "remove": self._remove, "move": self._move, "detail": self._detail, "crop": self._crop,
            "pages": self._pages, "take_pages": self._take_pages, "close_pdf": self._close_pdf,
        }  # fmt: skip
        action = actions.get(str(asked.get("do")))

        def done(desk: Desk) -> dict[str, Any]:
            if action is None:
                raise BadRequest("The page asked for something that is not there.", "Reload the page.")
            return action(desk, asked) or {}

        return self._told(asked, t, done)

    def add(self, key: str, content: bytes, name: str, t: Strings) -> dict[str, Any]:
        """An upload."""

        def done(desk: Desk) -> dict[str, Any]:
            desk.add(content, name)
            return {}

        return self._told({"key": key}, t, done)

    def _told(self, asked: Asked, t: Strings, done: Callable[[Desk], dict[str, Any]]) -> dict[str, Any]:
        desk = self._shelf.find(str(asked.get("key")))
        found: dict[str, Any] = {}
        try:
            if desk is None:
                raise BadRequest("This conversation is not open any more.", "Reload the page.")
            found = done(desk)
        except DemoError as error:
            found["error"] = refusal(error, t, self._app.settings)
        except Exception:  # the page's outermost edge, as for a turn
            logger.exception("the pictures failed")
            found["error"] = refusal(None, t, self._app.settings)
        if desk is not None:
            found |= self._desk(desk, asked, t)
        shown: dict[str, Any] = writable(found)
        return shown

    def _desk(self, desk: Desk, asked: Asked, t: Strings) -> dict[str, Any]:
        draft, opened = desk.draft, desk.pdf
        costs = self._costs(desk, draft, asked)
        own, state = costs.get(desk.detail), _state(self._app, str(asked.get("model")))
        return {
            "draft": [_card(one, own.new[at] if own else None, t) for at, one in enumerate(draft)],
            "detail": desk.detail,
            "costs": {detail: known.total for detail, known in costs.items()},
            "loaded": state in ("ready", "busy", "endpoint"),
            "one_way": len(set(costs.values())) == 1 if costs else state in ("ready", "busy"),
            "most": desk.pictures.limits.turn,
            "largest": desk.pictures.limits.file,
            "shown": desk.shown,
            "pdf": {"id": opened.path.stem, "name": opened.name, "count": opened.count, "last": len(opened.pages)} if opened else None,
        }

    def _costs(self, desk: Desk, draft: Sequence[Added], asked: Asked) -> Mapping[Detail, Cost]:
        earlier = list(_earlier(desk, asked.get("sent")))
        return known_costs(self._app, str(asked.get("model")), [one.image for one in draft], earlier) if draft else {}

    def _url(self, desk: Desk, asked: Asked) -> None:
        fetched = self._fetch.get(str(asked.get("address")))
        desk.add(fetched.content, fetched.name)

    def _remove(self, desk: Desk, asked: Asked) -> None:
        desk.remove(str(asked.get("id")))

    def _move(self, desk: Desk, asked: Asked) -> None:
        desk.move(str(asked.get("id")), _number(asked.get("to")))

    def _detail(self, desk: Desk, asked: Asked) -> None:
        desk.look(str(asked.get("detail")))

    def _crop(self, desk: Desk, asked: Asked) -> None:
        image, box = desk.pictures.find(str(asked.get("id"))), asked.get("box")
        if image is None:
            raise BadRequest("The picture is not there any more.", "Add it again.")
        if not isinstance(box, list) or len(box) != 4 or not all(type(edge) in (int, float) for edge in box):
            raise BadRequest("There is no such frame.", "Draw it anew.")
        desk.crop(image, (box[0], box[1], box[2], box[3]), str(asked.get("label") or "")[:80])

    def _pages(self, desk: Desk, asked: Asked) -> dict[str, Any]:
        """Small pictures of the pages from `first` on, as many as are drawn at once."""
        opened = desk.pdf
        if opened is None:
            raise BadRequest("There is no PDF open.", "Add it again.")
        first = max(1, _number(asked.get("first")))
        numbers = [number for number in range(first, first + pdf.MOST_DRAWN // 2) if number in opened.pages]
        pages = [{"n": number, "data": _data(jpeg)} for number, jpeg in pdf.thumbnails(opened, numbers)] if numbers else []
        return {"pages": pages}

    def _take_pages(self, desk: Desk, asked: Asked) -> None:
        chosen = asked.get("pages")
        desk.add_pages([_number(page) for page in chosen] if isinstance(chosen, list) else [])

    def _close_pdf(self, desk: Desk, asked: Asked) -> None:
        desk.close_pdf()


def known_costs(app: App, model: str, new: Sequence[Image], earlier: Sequence[Image]) -> Mapping[Detail, Cost]:
    """What these pictures take at each detail; empty while the model is not in memory, or busy, or cannot say. Never loads one."""
    if model not in app.registry.loaded():
        return {}
    cancel = Cancel()
    clock = threading.Timer(COST_SECONDS, cancel.set)
    clock.daemon = True
    clock.start()

    def stay(progress: Progress) -> None:
        if progress.stage != "waiting":  # it has just been unloaded
            cancel.set()

    try:
        with app.registry.lease(model, cancel=cancel, on_progress=stay) as engine:
            found = {detail: cost.of(engine, [replace(image, detail=detail) for image in new], earlier) for detail in DETAILS}
    except (Cancelled, DemoError):  # busy, or gone meanwhile; a model that takes no such picture says so when it is asked
        return {}
    except Exception:  # an engine's own failure: the pictures are there all the same
        logger.exception("the cost of pictures failed")
        return {}
    finally:
        clock.cancel()
    return {detail: known for detail, known in found.items() if known is not None}


def _state(app: App, model: str) -> str:
    """Where the model is, one on a server always there; empty for one that is not known."""
    spec = next((spec for spec in app.registry.specs() if spec.id == model), None)
    if spec is None:
        return ""
    return "endpoint" if spec.backend in ENDPOINT_BACKENDS else app.registry.state(model)


def _earlier(desk: Desk, sent: Any) -> Iterator[Image]:
    """The pictures that the page says were sent, each as closely looked at as it was then."""
    for one in sent[:MOST_SENT] if isinstance(sent, list) else ():
        told = one if isinstance(one, Mapping) else {}
        image = desk.pictures.find(str(told.get("id")))
        detail = next((known for known in DETAILS if known == told.get("detail")), None)
        if image is not None and detail is not None:
            yield replace(image, detail=detail)


def _card(one: Added, tokens: int | None, t: Strings) -> dict[str, Any]:
    notes = [t(f"vision.note_{note}") for note in one.notes]
    image = asdict(one.image)
    return {"id": image["sha256"], "name": one.name, "width": image["width"], "height": image["height"], "tokens": tokens, "notes": notes}


def _number(value: Any) -> int:
    """Raises `BadRequest`."""
    if type(value) is not int or abs(value) > 10_000:
        raise BadRequest("That is no number of a page or a place.", "Reload the page.")
    return value


def _data(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
