"""The tools of one conversation, called by name: lagent's executor runs them, this bounds them.

Each call has its own daemon thread, so Stop and the time limit end the wait at once even where a tool does not listen; such a
tool's thread is left behind, and with several of those nothing more is started. A tool's failure is an `Outcome` for the model.
Knows nothing of models, prompts or approval. Arguments come parsed and checked against the schema.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from demos.agent.toolbox import Outcome
from demos.agent.tools import Tool
from demos.agent.tools.returned import said, text_of
from demos.agent.tools.schemas import specs_of
from demos.agent.tools.workplace import Call, Workplace, enter
from shared.chatml import INTERPRETER
from shared.engine import Cancel, ToolSpec
from shared.errors import ModelUnavailable
from shared.messages import Image

logger = logging.getLogger(__name__)
MOST_TEXT = 16_000  # characters of an answer that a model gets to read
MOST_LEFT_BEHIND = 4
GRACE = 2.0  # seconds that a stopped tool has to end by itself
_STOPPED, _LATE = "was stopped", "gave no answer within {:g} seconds and was given up"


class Toolbox:
    """Raises `ModelUnavailable` where a tool's package is missing; the interpreter needs a workplace with a session."""

    def __init__(self, tools: Sequence[Tool], workplace: Workplace, *, offline: bool = False) -> None:
        self._workplace = workplace
        self._offline = offline
        self._left_behind: list[threading.Thread] = []
        self._tools: dict[str, Tool] = {}
        self._specs: dict[str, ToolSpec] = {}
        self._executor: Any = _executor([self._taken_in(tool) for tool in tools]) if tools else None

    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(self._specs.values())

    def tool(self, name: str) -> Tool | None:
        """The tool behind a spec's name: for what it touches, and for its texts."""
        return self._tools.get(name)

    def call(
        self, name: str, arguments: Mapping[str, object], *, cancel: Cancel, on_output: Callable[[str], object] | None = None
    ) -> Outcome:
        """Run one call and wait for it, for Stop, or for the tool's time limit."""
        tool = self._tools.get(name)
        if tool is None:
            return _failed(f"There is no tool {name!r}. The tools are: {', '.join(self._specs) or 'none'}.")
        if self._offline and "network" in tool.touches:
            return _failed(f"{name} needs the network, and this program was started with --offline. Answer without it.")
        self._left_behind = [thread for thread in self._left_behind if thread.is_alive()]
        if len(self._left_behind) >= MOST_LEFT_BEHIND:
            return _failed(f"{MOST_LEFT_BEHIND} earlier calls hang and cannot be ended. Restart the program to use tools again.")
        return self._bounded(tool, name, arguments, cancel, on_output)

    def _taken_in(self, tool: Tool) -> Any:
        if tool.name == INTERPRETER and self._workplace.session is None:
            raise ModelUnavailable("Code cannot run here: there is no sandbox.", "Leave the interpreter out.")
        action = tool.build(self._workplace)
        found = list(specs_of(action))
        for _, spec in found:
            self._tools[spec.name], self._specs[spec.name] = tool, spec
        return _telling(action, [method for method, _ in found])

    def _bounded(
        self, tool: Tool, name: str, arguments: Mapping[str, object], cancel: Cancel, on_output: Callable[[str], object] | None
    ) -> Outcome:
        own, answers = Cancel(), queue.SimpleQueue[Any]()
        call = Call(own, on_output) if on_output is not None else Call(own)
        thread = threading.Thread(target=self._run, args=(name, _given(arguments), call, answers), name=f"tool {name}", daemon=True)
        unsubscribe = cancel.subscribe(lambda: answers.put(_STOPPED))
        try:
            thread.start()
            answer = answers.get(timeout=tool.seconds)
        except queue.Empty:
            answer = _LATE
        finally:
            unsubscribe()
            own.set()  # ends what listens to it; after an answer there is nothing left to end
        if answer in (_STOPPED, _LATE):
            answer = self._last_words(answers, _failed(f"{name} {answer.format(tool.seconds)}."))
        if thread.is_alive():
            self._left_behind.append(thread)
        return answer

    def _last_words(self, answers: queue.SimpleQueue[Any], otherwise: Outcome) -> Any:
        """What a tool that listens says when it is stopped: an interpreter has its output up to there."""
        try:
            answer = answers.get(timeout=GRACE)
            return otherwise if answer in (_STOPPED, _LATE) else answer
        except queue.Empty:
            return otherwise

    def _run(self, name: str, arguments: dict[str, object], call: Call, answers: queue.SimpleQueue[Any]) -> None:
        answer: Any = _failed(f"{name} ended without an answer.")  # what is left when a tool ends its own thread
        try:
            enter(call)
            answer = outcome(name, self._executor(name, arguments))
        except (SystemExit, KeyboardInterrupt, GeneratorExit):
            pass  # a tool that calls sys.exit ends its own thread, nobody else's
        except Exception as error:  # of a parser, or while an answer is read: the model is told like of any other
            logger.warning("the answer of the tool %s could not be read", name, exc_info=error)
            answer = _failed(bounded(said(error)))
        finally:
            answers.put(answer)


def outcome(name: str, answer: Any) -> Outcome:
    """What lagent's `ActionReturn` says, with its text bounded and every character one that can be written."""
    result = answer.result if isinstance(answer.result, list | tuple) else [answer.result]
    found = [_item(item) for item in result if item is not None]
    images = tuple(content for kind, content in found if kind == "image" and isinstance(content, Image))
    files = tuple(text_of(content) for kind, content in found if kind == "file")
    failed = bool(answer.errmsg) or int(answer.state) != 0
    text = text_of(answer.errmsg or "") if failed else "\n".join(text_of(content) for kind, content in found if kind == "text")
    return Outcome(bounded(text) or _wordless(name, len(images), failed), images, files, error=failed)


def _wordless(name: str, images: int, failed: bool) -> str:
    """What a model reads of an answer without text: it would run a plot again that it does not know of."""
    if failed:
        return f"{name} failed and did not say why."
    return f"(no text; {images} {'picture is' if images == 1 else 'pictures are'} shown to the user)" if images else "(no output)"


def _item(item: Any) -> tuple[str, Any]:
    """Kind and content of one part of an answer; what has no kind is text."""
    if isinstance(item, Mapping) and "type" in item:
        return str(item["type"]), item.get("content")
    return "text", item


def bounded(text: str) -> str:
    """`text` as a model may read it: at most `MOST_TEXT` characters, its middle left out, no halves of characters, no NUL."""
    if len(text) > MOST_TEXT:
        head, tail = text[: MOST_TEXT * 3 // 4], text[-MOST_TEXT // 4 :]
        text = f"{head}\n[… {len(text) - MOST_TEXT:,} characters left out …]\n{tail}"
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _executor(actions: Sequence[Any]) -> Any:
    from demos.agent.tools.actions import ActionExecutor  # here: it imports lagent

    return ActionExecutor(list(actions))


def _telling(action: Any, methods: Sequence[str]) -> Any:
    from demos.agent.tools.actions import telling  # here: it imports lagent

    return telling(action, methods)


def _given(arguments: Mapping[str, object]) -> dict[str, object]:
    """Without nulls: models write `null` for an optional argument they leave out."""
    return {name: value for name, value in arguments.items() if value is not None}


def _failed(text: str) -> Outcome:
    return Outcome(text, error=True)
