"""What the workbench beside the conversation asks the server: tools and their forms, a call made by hand, files, variables, the kernel.

Every answer is JSON. What a page sends is checked here; who it is, `visitor`, is what Gradio calls the session. Knows no component.
"""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from demos import render
from demos.agent import sandbox
from demos.agent.tools import Tool, trying
from demos.agent.visitor.workshop import Workshop, Workshops
from demos.strings import Strings
from demos.tab import App
from demos.view import writable
from shared.engine import Cancel
from shared.errors import BadRequest, DemoError

logger = logging.getLogger(__name__)
MOST_DOWNLOAD = 32 << 20  # bytes of a file that travels inside an answer
MOST_TRIED = 20_000  # characters of a tried call's result
LONGEST_NAME = 300
MOST_TRYING = 64  # calls made by hand at once, of all visitors: less than the threads there are, so that a Stop is heard


class Bench:
    def __init__(self, app: App, workshops: Workshops) -> None:
        self._app, self._workshops = app, workshops
        self._trying: dict[str, Cancel] = {}
        self._lock = threading.Lock()

    def now(self, visitor: str, t: Strings) -> dict[str, Any]:
        """Tools, whether code may run, files and variables. Who cannot be a visitor has none of his own."""
        workshop = self._workshops.of(visitor) if _is_name(visitor) else None
        told = {
            "tools": [self._tool(tool, t) for tool in self._workshops.offered()], "code": self._code(t),
            "files": [{"name": file.name, "size": render.size(file.size)} for file in (workshop.files() if workshop else ())],
            "variables": [asdict(variable) for variable in (workshop.variables() if workshop else ())],
        }  # fmt: skip
        found: dict[str, Any] = writable(told)
        return found

    def do(self, visitor: str, asked: Mapping[str, Any], t: Strings) -> dict[str, Any]:
        """One press. An error is told as the page shows it."""
        actions: Mapping[str, Callable[[Workshop, str, Mapping[str, Any], Strings], dict[str, Any]]] = {
            "form": self._form, "try": self._try, "stop": self._stop, "restart": self._restart, "file": self._file,
        }  # fmt: skip
        action = actions.get(str(asked.get("do")))
        try:
            if action is None or not _is_name(visitor):
                raise BadRequest("The page asked for something that is not there.", "Reload the page.")
            found: dict[str, Any] = writable(action(self._workshops.of(visitor), visitor, asked, t))
            return found
        except DemoError as error:
            return {"error": writable(self._told(error, t))}
        except Exception:  # the page's outermost edge, as for a run
            logger.exception("the workbench failed")
            return {"error": self._told(None, t)}

    def _told(self, error: DemoError | None, t: Strings) -> dict[str, str]:
        card = render.error_card(error, t, kept=False, whole=self._app.settings.trusted)
        return {"title": card["cause"], "text": card["remedy"]}

    def _tool(self, tool: Tool, t: Strings) -> dict[str, Any]:
        own = "" if tool.text else t("tools.own", file=Path(self._app.settings.tools).name)
        touches = [t(f"tools.touches_{touch}") for touch in sorted(tool.touches)]
        return {"name": tool.name, "title": tool.title(t), "about": tool.description(t), "touches": touches, "own": own}

    def _code(self, t: Strings) -> dict[str, str]:
        """Whether code may run, and what isolates it, in words."""
        permission = self._workshops.permission()
        if permission is None:
            return {"state": "unknown", "text": t("agent.code_unknown")}
        if not permission.allowed:
            return {"state": "off", "text": t("agent.code_off", reason=permission.reason), "remedy": permission.remedy}
        if permission.unsafe:
            return {"state": "unsafe", "text": t("agent.code_unsafe")}
        return {"state": "on", "text": t("agent.code_on", tier=sandbox.tier()), "remedy": sandbox.TIERS[sandbox.tier()]}

    def _form(self, workshop: Workshop, visitor: str, asked: Mapping[str, Any], t: Strings) -> dict[str, Any]:
        tool = self._asked_tool(asked)
        names = [file.name for file in workshop.files()]
        forms = [
            {"name": spec.name, "fields": [asdict(item) for item in trying.form(spec, trying.example(tool, spec, t, names))]}
            for spec in workshop.toolbox([tool.name]).specs()
        ]
        return {"forms": forms}

    def _try(self, workshop: Workshop, visitor: str, asked: Mapping[str, Any], t: Strings) -> dict[str, Any]:
        tool, values = self._asked_tool(asked), asked.get("values")
        if not isinstance(values, Mapping):
            raise BadRequest("The form is empty.", "Reload the page.")
        with self._tried(visitor) as cancel:
            tried = trying.tried(workshop.toolbox([tool.name]), str(asked.get("form")), values, cancel)
        outcome = tried.outcome
        images = [_data(Path(image.path)) for image in outcome.images]
        return {
            "text": outcome.text[:MOST_TRIED], "failed": outcome.error, "seconds": t("agent.seconds", s=f"{tried.seconds:.1f}"),
            "images": images, "files": list(outcome.files),
        }  # fmt: skip

    @contextmanager
    def _tried(self, visitor: str) -> Iterator[Cancel]:
        """One call by hand at a time for each visitor, and not too many of all of them."""
        cancel = Cancel()
        with self._lock:
            if visitor in self._trying:
                raise BadRequest("A call made by hand is still running.", "Wait for it, or stop it.")
            if len(self._trying) >= MOST_TRYING:
                raise BadRequest("Too many visitors try a tool right now.", "Try again in a minute.")
            self._trying[visitor] = cancel
        try:
            yield cancel
        finally:
            with self._lock:
                del self._trying[visitor]

    def _stop(self, workshop: Workshop, visitor: str, asked: Mapping[str, Any], t: Strings) -> dict[str, Any]:
        self.leave(visitor)
        return {}

    def leave(self, visitor: str) -> None:
        """Stop what this visitor tries by hand."""
        with self._lock:
            cancel = self._trying.get(visitor)
        if cancel is not None:
            cancel.set()

    def _restart(self, workshop: Workshop, visitor: str, asked: Mapping[str, Any], t: Strings) -> dict[str, Any]:
        allowed = self._workshops.permission()
        if allowed is None or not allowed.allowed:
            raise BadRequest("No code runs here.", allowed.remedy if allowed else "Wait until that is known.")
        workshop.restart()
        return {"said": t("agent.restarted")}

    def _file(self, workshop: Workshop, visitor: str, asked: Mapping[str, Any], t: Strings) -> dict[str, Any]:
        name = str(asked.get("name"))
        path = workshop.fetch(name)
        if path.stat().st_size > MOST_DOWNLOAD:
            raise BadRequest(f"{name} is larger than {MOST_DOWNLOAD >> 20} MiB.", "Let the code write a smaller one.")
        return {"name": path.name, "data": base64.b64encode(path.read_bytes()).decode("ascii")}

    def _asked_tool(self, asked: Mapping[str, Any]) -> Tool:
        name = asked.get("tool")
        found = next((tool for tool in self._workshops.offered() if tool.name == name), None)
        if found is None:
            raise BadRequest("There is no such tool here.", "Reload the page.")
        return found


def _is_name(visitor: str) -> bool:
    """Whether it can be what Gradio calls a session."""
    return 0 < len(visitor) <= LONGEST_NAME


def _data(path: Path) -> str:
    """A picture that the sandbox has checked, inside the page."""
    kind = {".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif", ".webp": "webp"}.get(path.suffix.lower(), "png")
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
