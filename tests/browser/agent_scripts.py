"""What the agent's tests put under the page: models that follow a script, tools of a file, and the public services they ask.

A model per test, so that no test depends on how far another one's script has come.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.browser.public_web import Site
from tests.demos.agent.tools.test_searches import ENTRY, FEED
from tests.demos.agent.tools.test_weather import BOSTONS, NOW

CODE = "IPythonInterpreter"
HTML = '<img src=x onerror="document.title=1"><script>document.title=2</script>${document.title=3}'
BIG = 50_000_000
TOOLS = f'''
import threading
from lagent.actions import BaseAction, tool_api

class Flood(BaseAction):
    """Gives far too much."""
    @tool_api
    def run(self) -> str:
        """Give it."""
        return "x" * {BIG}

class Deaf(BaseAction):
    """Never ends, and hears no Stop."""
    @tool_api
    def run(self) -> str:
        """Begin."""
        threading.Event().wait()

class Parrot(BaseAction):
    """Says what it was told."""
    @tool_api
    def run(self, words: str) -> str:
        """Say it, <b>whatever</b> it is.

        Args:
            words (str): <i>what</i> to say
        """
        return words

class Broken(BaseAction):
    """Raises."""
    @tool_api
    def run(self) -> str:
        """Raise."""
        raise RuntimeError("no <b>such</b> luck")
'''
PLOT = (
    "import numpy as np\nimport matplotlib.pyplot as plt\nx = np.linspace(0, 6.28, 50)\nplt.plot(x, np.sin(x))\nplt.show()\n"
    "open('out.csv', 'w').write('x,y\\n1,2\\n')\nprint('drawn', 6 * 7)"
)
ANSI = "print('\\x1b[31mred\\x1b[0m')\nprint('```\\n# no heading\\n```')\nprint('<b>bold</b>')"


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}\n</tool_call>"


def code(text: str) -> str:
    return call(CODE, command=text)


def sum_of(text: str) -> str:
    return call("Calculator", expression=text)


SCRIPTS: Mapping[str, Sequence[str]] = {
    "weather": [f"Let me look.\n{call('get_current_weather', location='Boston, MA')}", "It is **22 °C** and sunny in Boston."],
    "papers": [call("ArxivSearch.get_arxiv_article_information", query="InternLM2 书生"), "The report is InternLM0."],
    "plot": [
        f"<think>Code draws.</think>Here it comes.\n{code(PLOT)}\n{call('CurrentTime', timezone='Asia/Shanghai')}", "Drawn.",
        "Gladly.",
    ],
    "repair": [
        '<tool_call>\n{"expression": "6*7"}\n</tool_call>', call("Calculator", expresion="6*7"), sum_of("6*7"),
        "It is 42.",
    ],
    "deny": [sum_of("1+1"), "Then I leave it."],
    "edit": [sum_of("1+1"), "Done."],
    "allow": [sum_of("1+1"), sum_of("2+2"), "Both."],
    "never": [sum_of("1+1"), "I may not."],
    "off": [sum_of("1+1"), "I have no calculator."],
    "endless": [sum_of("1+1")],
    "sleepy": [code("import time\nkept = 5\nprint('asleep', flush=True)\ntime.sleep(300)"), code("print('kept', kept)"), "Awake."],
    "deaf": [call("Deaf"), "Next."],
    "patient": [sum_of("1+1"), "Next."],
    "hostile": [
        f"{HTML}\n{call('Parrot', words=HTML)}\n{call('Broken')}", code("open('<img src=x onerror=document.title=4>.txt', 'w').write('x')"),
        f"{HTML} done",
    ],
    "floods": [f"{call('Flood')}\n{code(ANSI)}", "Enough."],
    "files": [call("ReadFile", path="data.csv"), code("print(open('data.csv').read().upper())"), "Read."],
    "mine": [code("mine = 'first'\nopen('first.txt', 'w').write(mine)"), "Yes."],
    "yours": [code("print('mine' in globals())\nimport os\nprint([name for name in os.listdir('.') if name[0] != '.'])"), "No."],
    "leaves": [code("x = 1"), "There."],
    "talks": ["I know that without any tool."],
    "keyboard": [sum_of("1+1"), sum_of("2+2"), "Both."],
    "wide": [f"{call('Parrot', words='w' * 3000)}\n{code('x = 1  # ' + 'y' * 400)}", "w" * 500],
    "chinese": [sum_of("1+1"), "等于 2。"],
    "public": [call("get_current_weather", location="Boston"), code("print(6 * 7)"), "Both."],
}  # fmt: skip


def catalog(folder: Path) -> Path:
    """The scripts as models of a file for `--models`."""
    path = folder / "scripts.toml"
    head = 'backend = "scripted"\ndialect = "chatml"\ncontext = 16384\ncapabilities = ["text", "prefill", "tools"]'
    tables = [
        f'[[model]]\nid = "{name}"\n{head}\nsource = [{{ kind = "path", ref = "{path}" }}]\n'
        f"[model.options]\npieces = 40\ndelay = 0\nreplies = {json.dumps(list(replies), ensure_ascii=False)}\n"
        for name, replies in SCRIPTS.items()
    ]
    path.write_text("\n".join(tables), "utf-8")
    return path


def tools(folder: Path) -> Path:
    """Tools that misbehave, as a file for `--tools`."""
    path = folder / "misbehaving.py"
    path.write_text(TOOLS, "utf-8")
    return path


def _places(path: str) -> tuple[int, bytes]:
    if "name=Atlantis" in path:
        return 503, b""
    return 200, json.dumps({"results": BOSTONS}).encode()


def _weather(path: str) -> tuple[int, bytes]:
    return 200, json.dumps(NOW).encode()


def _papers(path: str) -> tuple[int, bytes]:
    return 200, FEED.format(total=3, entries="".join(ENTRY.format(n=n) for n in range(3))).encode()


SITES: Mapping[str, Site] = {
    "geocoding-api.open-meteo.com": _places,
    "api.open-meteo.com": _weather,
    "export.arxiv.org": _papers,
}
