"""The terminal conversation: turns, and the commands between them.

Knows the registry and the screen; reads no files but saved conversations, and no flags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from demos import transcript, turns
from demos.reply import once_smaller
from demos.terminal import Terminal, describe, run_interruptibly
from models.registry import Registry
from shared.engine import Cancel, Cancelled, ModelSpec, Progress, Sampling
from shared.errors import BadRequest
from shared.events import Done, PromptProgress, ReasoningDelta, TextDelta
from shared.messages import Message, Part, Reasoning, Text, ToolCall, system, user

HELP = """\
/regen            answer the last message again      /undo      take the last turn back
/reset            begin a new conversation           /exit      leave (also: exit, Ctrl-D)
/system [text]    show or set the system prompt      /model [id]   show the models, or change
/params [name value]   show or set sampling: temperature, top-p, top-k, repetition-penalty, max-tokens, seed, stop
/save FILE        /load FILE                         /help
Ctrl-C stops the answer; at an empty prompt it leaves. Text over several lines: between \"\"\" and \"\"\".
A message that begins with / or !! can be sent with a blank before it."""
ALIASES = {"quit": "exit", "clear": "reset", "remove": "undo", "regenerate": "regen"}
PARAMETERS = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "seed", "stop")


class Leave(Exception):
    """The user wants to go."""


@dataclass(slots=True)
class Answer:
    """What has come of one answer so far."""

    reasoning: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    done: Done | None = None

    def message(self) -> Message | None:
        """None when nothing came that could be kept."""
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        if not text and not self.calls:
            return None
        parts: list[Part] = [Reasoning(reasoning)] if reasoning else []
        return Message("assistant", (*parts, *([Text(text)] if text else []), *self.calls))


@dataclass(frozen=True, slots=True)
class Dropped:
    """So many old turns did not fit into the context."""

    turns: int


class Chat:
    """One conversation in a terminal."""

    def __init__(self, registry: Registry, terminal: Terminal, model: str, system_text: str, sampling: Sampling) -> None:
        self._registry = registry
        self._terminal = terminal
        self._model = model
        self._system = system_text
        self._sampling = sampling
        self._messages: tuple[Message, ...] = ()
        self._unanswered = ""
        self._warned = False

    def ask(self, text: str, *, quiet: bool = False) -> None:
        """One turn. `quiet` shows the answer and nothing else. What came before a stop or a failure is kept; a message that got
        no answer at all is taken back, for /regen. Raises `DemoError`, and `Cancelled` where `quiet` was stopped."""
        asked = (*self._messages, user(text))
        answer = Answer()
        self._warn_of_language(text)
        stopped = False
        try:
            self._generate(asked, answer, quiet)
        except Cancelled:
            stopped = True
        finally:
            self._terminal.end()
            self._keep(asked, answer, text)
        stopped = stopped or (answer.done is not None and answer.done.reason == "cancelled")
        if quiet and stopped:
            raise Cancelled
        self._remark(answer, stopped, quiet)

    def obey(self, line: str) -> None:
        """Run one command line, without its / or !!. Raises `Leave`, and `BadRequest` for what is no command."""
        name, _, argument = line.partition(" ")
        name = ALIASES.get(name, name)
        command = self._commands().get(name)
        if command is None:
            raise BadRequest(f"There is no command /{name}.", "/help lists them.")
        command(argument.strip())

    def _commands(self) -> dict[str, Callable[[str], None]]:
        return {
            "exit": self._exit, "reset": self._reset, "undo": self._undo, "regen": self._regen, "system": self._set_system,
            "model": self._set_model, "params": self._params, "save": self._save, "load": self._load, "help": self._help,
        }  # fmt: skip

    def _generate(self, asked: tuple[Message, ...], answer: Answer, quiet: bool) -> None:
        messages = (system(self._system), *asked) if self._system else asked

        def turn(emit: Callable[[object], None], cancel: Cancel) -> None:
            with self._registry.lease(self._model, cancel=cancel, on_progress=emit) as engine:
                kept, dropped, spec = list(messages), 0, self._registry.spec(self._model)
                if spec.context:
                    kept, dropped = turns.fit(messages, engine.count, turns.room_for_prompt(spec.context, self._sampling.max_tokens))
                if dropped:
                    emit(Dropped(dropped))
                for event in engine.stream(kept, self._sampling, cancel=cancel):
                    emit(event)

        def work(emit: Callable[[object], None], cancel: Cancel) -> None:
            once_smaller(lambda told: turn(told, cancel), emit)

        self._terminal.status(f"waiting for {self._model}")
        run_interruptibly(work, lambda item: self._show(item, answer, quiet), lambda: self._terminal.status("stopping"))

    def _show(self, item: object, answer: Answer, quiet: bool) -> None:
        match item:
            case Progress():
                self._terminal.status(describe(item))
            case PromptProgress(done, total):
                self._terminal.status(f"reading {done:,} of {total:,} tokens")
            case Dropped(count):
                self._terminal.note(f"The context is full: the oldest {count} {'turn is' if count == 1 else 'turns are'} left out.")
            case TextDelta(text):
                if answer.reasoning and not answer.text and not quiet:
                    self._terminal.end()
                answer.text.append(text)
                self._terminal.write(text)
            case ReasoningDelta(text):
                answer.reasoning.append(text)
                if not quiet:
                    self._terminal.write(text, dim=True)
            case ToolCall(_, name, arguments):
                answer.calls.append(item)
                self._terminal.note(f"The model asks for the tool {name} with {arguments}; this chat runs no tools.")
            case Done():
                answer.done = item

    def _warn_of_language(self, text: str) -> None:
        """Said once: a small model answers nonsense in a language it never learnt."""
        languages = self._registry.spec(self._model).languages
        if languages and "zh" not in languages and not self._warned and any("\u4e00" <= character <= "\u9fff" for character in text):
            self._warned = True
            self._terminal.note(
                f"{self._model} writes {', '.join(languages)} only. For 中文 choose another model (--model), or a server (--api-base)."
            )

    def _keep(self, asked: tuple[Message, ...], answer: Answer, text: str) -> None:
        message = answer.message()
        self._unanswered = "" if message else text
        if message:
            self._messages = (*asked, message)

    def _remark(self, answer: Answer, stopped: bool, quiet: bool) -> None:
        """The line under an answer: stopped, cut, or how fast it came."""
        done = answer.done
        if done is not None and done.reason == "length":
            self._terminal.note(f"[cut at {self._sampling.max_tokens} tokens: max-tokens allows no more]")
        if quiet:
            return
        if stopped:
            kept = "the text so far is kept" if answer.message() else "nothing had come yet; /regen asks again"
            self._terminal.note(f"[stopped: {kept}]")
        elif not answer.message():
            self._terminal.note("[the model answered nothing; /regen asks again]")
        if done is not None and done.usage.output_tokens:
            self._terminal.note(" · ".join(_figures(done, self._registry.spec(self._model))))

    def _exit(self, argument: str) -> None:
        raise Leave

    def _help(self, argument: str) -> None:
        self._terminal.line(HELP)

    def _reset(self, argument: str) -> None:
        self._messages, self._unanswered = (), ""
        self._terminal.note("A new conversation.")

    def _undo(self, argument: str) -> None:
        if not self._messages:
            raise BadRequest("There is no turn to take back.")
        text = self._take_last_turn()
        self._terminal.note(f"Taken back: {_shortened(text)}")

    def _regen(self, argument: str) -> None:
        if not self._unanswered and not self._messages:
            raise BadRequest("There is nothing to answer again.", "Write a message first.")
        self.ask(self._unanswered or self._take_last_turn())

    def _take_last_turn(self) -> str:
        """Remove the last user message and all after it; returns its text."""
        at = max((i for i, message in enumerate(self._messages) if message.role == "user"), default=0)
        text = self._messages[at].text
        self._messages, self._unanswered = self._messages[:at], ""
        return text

    def _set_system(self, argument: str) -> None:
        if argument:
            self._system = "" if argument == '""' else argument
        shown = self._system or self._registry.spec(self._model).default_system
        origin = ' (/system "" removes it)' if self._system else " (the model's own)" if shown else ""
        self._terminal.note(f"System prompt{origin}: {shown or 'none'}")

    def _set_model(self, argument: str) -> None:
        if argument:
            self._model = self._registry.spec(argument).id
            self._terminal.note(f"From now on {self._model} answers.")
            return
        for spec in self._registry.specs("text"):
            self._terminal.line(f"{'*' if spec.id == self._model else ' '} {spec.id}  ({self._registry.state(spec.id)})")

    def _params(self, argument: str) -> None:
        if argument:
            name, _, value = argument.partition(" ")
            self._sampling = with_parameter(self._sampling, name, value.strip())
        for name in PARAMETERS:
            self._terminal.line(f"{name.replace('_', '-')} = {_value(getattr(self._sampling, name))}")

    def _save(self, argument: str) -> None:
        path = _path(argument, "/save")
        head = (system(self._system),) if self._system else ()
        transcript.save(path, (*head, *self._messages))
        self._terminal.note(f"Saved {len(self._messages)} messages to {path}.")

    def _load(self, argument: str) -> None:
        messages = transcript.load(_path(argument, "/load"))
        self._system = messages[0].text if messages and messages[0].role == "system" else ""
        self._messages, self._unanswered = tuple(message for message in messages if message.role != "system"), ""
        if self._messages and self._messages[-1].role == "user":
            self._unanswered = self._take_last_turn()
        self._terminal.note(f"Loaded {len(self._messages)} messages.")
        for message in self._messages[-2:]:
            self._terminal.line(f"{'> ' if message.role == 'user' else ''}{message.text}")


def with_parameter(sampling: Sampling, name: str, value: str) -> Sampling:
    """`sampling` with one setting changed; "none" takes a seed or the stop words away. Raises `BadRequest`."""
    key = name.replace("-", "_")
    if key not in PARAMETERS:
        raise BadRequest(f"There is no parameter {name!r}.", f"There are: {', '.join(PARAMETERS).replace('_', '-')}.")
    kind = {item.name: str(item.type) for item in fields(Sampling)}[key]
    try:
        changed: object = _parsed(kind, value)
    except ValueError as error:
        raise BadRequest(f"{name} is a number, not {value!r}.", f"Such as: /params {name} 1") from error
    return replace(sampling, **{key: changed})  # type: ignore[arg-type]


def _parsed(kind: str, value: str) -> object:
    if kind.startswith("tuple"):
        return () if value in ("", "none") else (value,)
    if kind.endswith("None") and value == "none":
        return None
    return float(value) if kind == "float" else int(value)


def _value(value: object) -> str:
    return "none" if value in (None, ()) else " ".join(map(repr, value)) if isinstance(value, tuple) else str(value)


def _figures(done: Done, spec: ModelSpec) -> Iterator[str]:
    usage = done.usage
    if usage.tokens_per_second:
        yield f"{usage.tokens_per_second:.0f} tok/s"
    yield f"{usage.seconds_to_first:.2f} s"
    used = usage.prompt_tokens + usage.output_tokens
    yield f"{used}/{spec.context}" if spec.context else f"{used} tokens"


def _path(argument: str, command: str) -> Path:
    if not argument:
        raise BadRequest(f"{command} needs a file name.", f"Such as: {command} talk.json")
    return Path(argument).expanduser()


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"
