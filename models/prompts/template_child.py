"""The process that renders a model's own Jinja template for `models.prompts.chat_template`, which starts this file by its path.

A template is a program from the internet: in jinja2's sandbox it reaches nothing, but it may loop or grow for ever, and only
a process can be stopped then. Its memory is limited here, its time by whoever waits for it.

JSON lines: first the template, then one request after another. Texts of a conversation enter the template as unguessable
names, so none of them decides anything in it, and what comes out is known to be either the template's or somebody's text.
Imports nothing of this program.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY = 1 << 30  # bytes of address space: a rendering with megabytes of text takes a tenth
# What a template can raise, sandbox included; anything else ends this process.
BROKEN = (
    jinja2.TemplateError, ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


class Generation(Extension):
    """`{% generation %}…{% endgeneration %}`: some templates mark the answers so, for training; here it is what is inside."""

    tags = {"generation"}  # noqa: RUF012  jinja2 declares it as an instance's

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@dataclass(frozen=True)
class Texts:
    """The texts behind their names, and which text of the request each came from."""

    nonce: str
    open: str  # the name of the text that is to be continued: nothing is cut off its ends
    text: dict[str, str]
    origin: dict[str, str]

    def derived(self, name: str, text: str) -> str:
        """A new name for `text`, which was made of the text called `name`."""
        if not text or text == self.text[name]:
            return name if text else ""
        other = f"{self.nonce}{len(self.text)}q"
        self.text[other], self.origin[other] = text, self.origin[name]
        return other

    def wrapped(self, value: Any) -> Any:
        """`value` with every name in it as a string that knows its text."""
        if isinstance(value, Mapping):
            return {self.wrapped(key): self.wrapped(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.wrapped(inner) for inner in value]
        return self.named(value) if isinstance(value, str) else value

    def named(self, value: str) -> str:
        if value not in self.text:
            return value
        name = Name(value)
        name._texts = self
        return name

    def escaped(self, value: Any) -> Any:
        """`value` with the texts in it as they stand inside a JSON string."""
        if isinstance(value, Mapping):
            return {self.escaped(key): self.escaped(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.escaped(inner) for inner in value]
        return re.sub(self._pattern, self._inside_json, value) if isinstance(value, str) else value

    def _inside_json(self, found: re.Match[str]) -> str:
        name = found[0]
        return self.derived(name, json.dumps(self.text[name], ensure_ascii=False)[1:-1]) if name in self.text else name

    @property
    def _pattern(self) -> str:
        return f"{self.nonce}[0-9]+q"

    def pieces(self, rendered: str) -> list[tuple[str, str]]:
        """`rendered` as (the request's name of a text, or nothing for the template's own; what stands there)."""
        parts = re.split(f"({self._pattern})", rendered)
        pieces = [(self.origin.get(part, ""), self.text.get(part, part)) for part in parts if part]
        own = "\n".join(text for origin, text in pieces if not origin).lower()
        if self.nonce[:8] in own or self.nonce[-8:] in own:
            raise ValueError("it takes the texts of the conversation apart")
        return pieces


class Name(str):
    """The name of a text. Its blanks can be stripped as those of the text would be; nothing else of the text shows."""

    _texts: Texts  # a template cannot reach what begins with an underscore

    def strip(self, chars: str | None = None, /) -> str:
        return self._stripped(str.strip, chars)

    def lstrip(self, chars: str | None = None, /) -> str:
        return self._stripped(str.lstrip, chars)

    def rstrip(self, chars: str | None = None, /) -> str:
        return self._stripped(str.rstrip, chars)

    def _stripped(self, method: Callable[[str, str | None], str], chars: str | None) -> str:
        texts, name = self._texts, str(self)
        if name == texts.open:
            return self
        return texts.named(texts.derived(name, method(texts.text[name], chars)))


class Environment(ImmutableSandboxedEnvironment):
    """As transformers makes it, so that templates written for it work."""

    texts = Texts("", "", {}, {})  # of the request being rendered

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"])
        self.filters["tojson"] = tojson
        self.globals["raise_exception"] = refuse
        self.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)


@jinja2.pass_environment
def tojson(environment: Environment, value: Any, ensure_ascii: bool = False, indent: int | None = None, **how: Any) -> str:
    """As transformers has it: Chinese stays Chinese, and nothing is escaped for HTML."""
    return json.dumps(environment.texts.escaped(value), ensure_ascii=ensure_ascii, indent=indent, **how)


def refuse(message: object) -> None:
    raise ValueError(message)


def render(environment: Environment, template: jinja2.Template, request: Mapping[str, Any]) -> list[tuple[str, str]]:
    texts = environment.texts = Texts(request["nonce"], request["open"], dict(request["texts"]), {name: name for name in request["texts"]})
    tools = texts.wrapped(request["tools"]) or None
    rendered = template.render(
        messages=texts.wrapped(request["messages"]), tools=tools, add_generation_prompt=not request["open"], **request["tokens"]
    )
    pieces = texts.pieces(rendered)
    if not request["open"]:
        return pieces
    last = max((at for at, (origin, _) in enumerate(pieces) if origin == request["open"]), default=-1)
    return pieces[: last + 1]


def answer(work: Callable[[], Any]) -> Any:
    """Write what `work` makes, or why it makes nothing, as one line."""
    result = None
    try:
        result = work()
        line = json.dumps({"pieces": [] if isinstance(result, jinja2.Template) else result})
    except BROKEN as error:
        line = json.dumps({"error": str(error).strip()[:500] or type(error).__name__})
    print(line, flush=True)  # noqa: T201  the pipe to whoever asked
    return result


def main() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system can limit memory
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    source = json.loads(sys.stdin.readline())
    environment = Environment()
    template = answer(lambda: environment.from_string(source))
    for line in sys.stdin if template is not None else ():
        answer(partial(render, environment, template, json.loads(line)))


if __name__ == "__main__":
    main()
