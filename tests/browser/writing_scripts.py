"""What the writing tab's tests put under the page: models that follow a script, one on a server that hangs up, and picture services."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.browser.public_web import Site
from tests.browser.vision_page import picture
from tests.openai_server import Exchange, OpenAIServer, Reply, chunk, says

TITLE, FIRST = "Bread that rises", "Bread is older than writing."
SECOND_BEGINS = "Yeast is a fungus."
LAST = "Listen when the loaf comes out: it crackles as it cools."
ARTICLE = f"""# {TITLE}

{FIRST} People mixed flour and water, left the bowl in the sun, and found it *alive* the next morning.

## The small workers

{SECOND_BEGINS} It eats the sugar in the dough and breathes out gas, and the gas has nowhere to go.

So the dough stretches. **Gluten**, the net of proteins that kneading makes, holds the bubbles like a thousand small balloons.

## Waiting

- An hour in a warm kitchen
- A night in the refrigerator

Slow dough tastes better, because the yeast is not alone: bacteria make acids, and acids make flavour.

## The oven

Heat makes the bubbles grow one last time, then the starch sets and the crust turns brown.

{LAST}"""
PARAGRAPHS = 11
PLACES = "2, 5, 10"
CAPTIONS = (
    "Caption: A bowl of dough on a sunny windowsill\nSearch: dough bowl window",
    "Caption: Hands stretching bread dough over a table\nSearch: hands dough table",
    "Caption: A dark loaf of bread in front of an oven\nSearch: bread loaf oven",
)
WHOLE = (ARTICLE, PLACES, *CAPTIONS)
TAG = "<img src=x onerror=document.title=1>"
EVIL = f"{TAG}<script>document.title=2</script> ${{document.title=3}}"
HOSTILE = f"""# Title {EVIL}

First {EVIL} and [press here](javascript:document.title=4) and [there](https://evil.example/) and ![seen](https://evil.example/a.png).

<iframe src="https://evil.example/"></iframe>

| head {TAG} | other |
| --- | --- |
| cell {TAG} | `code {TAG}` |

```html
{EVIL}
```

Last, a paragraph about bread and its small workers."""
OUTLINE = "The flour\nThe yeast\nThe oven"
SCRIPTS: Mapping[str, Sequence[str]] = {
    "whole": (*WHOLE, "It was the sun that woke the first dough."),
    "stops": (ARTICLE, ARTICLE, PLACES, *CAPTIONS, *CAPTIONS),
    "waits": WHOLE,
    "edits": (
        ARTICLE, "5", CAPTIONS[1], "Before the oven there was the hot stone.", "After it came the tin of the baker.",
        "Caption: A hot stone with flat bread\nSearch: hot stone bread", "Short.",
        "Yeast, a fungus, is a guest at every table. It stays long.",
    ),
    "pictures": (*WHOLE[:2], *CAPTIONS),
    "own": WHOLE,
    "outlines": (OUTLINE, ARTICLE),
    "reloads": WHOLE,
    "twins": (ARTICLE,),
    "saves": WHOLE,
    "hostile": (HOSTILE, "2", f"Caption: bread {EVIL}\nSearch: {EVIL} bread"),
    "keys": (ARTICLE, "2", CAPTIONS[0], "It was the sun."),
    "narrow": (f"{ARTICLE}\n\n{'long' * 60}\n\n| {'| '.join('column' * 4 for _ in range(9))} |\n|{'---|' * 9}", "2", CAPTIONS[0]),
    "plain": (ARTICLE,),
    "down": (ARTICLE, "2, 8", "Caption: A windmill for flour\nSearch: broken windmill", "Caption: Flour from a hill\nSearch: broken mill"),
    "again": (ARTICLE, "2", CAPTIONS[0], "Caption: A basket in the kitchen\nSearch: basket", "# The sea\n\nIt is wide.", "2", CAPTIONS[1]),
}  # fmt: skip
PIECE_SECONDS = {"stops": 0.06, "reloads": 0.04, "twins": 0.005}


def catalog(folder: Path, endpoint: str) -> Path:
    """The scripts as models of a file for `--models`, one for each, so that no test depends on how far another one's has come; and the
    model `remote` at `endpoint`."""
    path = folder / "scripts.toml"
    head = 'backend = "scripted"\ndialect = "chatml"\ncontext = 16384\ncapabilities = ["text", "prefill", "choice"]'
    tables = [
        f'[[model]]\nid = "{name}"\n{head}\nsource = [{{ kind = "path", ref = "{path}" }}]\n'
        f"[model.options]\npieces = 12\ndelay = {PIECE_SECONDS.get(name, 0)}\nreplies = {json.dumps(list(replies))}\n"
        for name, replies in SCRIPTS.items()
    ]
    tables.append(
        '[[model]]\nid = "remote"\nbackend = "openai_remote"\ncontext = 16384\ncapabilities = ["text"]\n'
        f'source = [{{ kind = "endpoint", ref = "{endpoint}" }}]\n'
    )
    path.write_text("\n".join(tables), "utf-8")
    return path


def breaking() -> OpenAIServer:
    """Hangs up in the middle of the article, then goes on with it; places, captions and letters follow."""
    middle = ARTICLE.index(" and the gas has nowhere")
    return OpenAIServer(
        _breaks(ARTICLE[:middle]), says(ARTICLE[middle:]), says(PLACES), *(says(caption) for caption in CAPTIONS), says("A")
    )


def _breaks(text: str) -> Reply:
    def reply(exchange: Exchange) -> None:
        exchange.begin_stream()
        for word in text.split(" "):
            exchange.event(chunk({"content": f"{word} "}))
        exchange.drop()

    return reply


@dataclass(frozen=True)
class Services:
    """Openverse with four pictures for every search, Wikimedia Commons with none. While `opened` is not set, Openverse does not answer."""

    opened: threading.Event = field(default_factory=threading.Event)

    def sites(self) -> Mapping[str, Site]:
        return {"api.openverse.org": self._openverse, "commons.wikimedia.org": lambda path: (200, b"{}"), "pictures.example": _picture}

    def _openverse(self, path: str) -> tuple[int, bytes]:
        self.opened.wait(60)
        words = parse_qs(urlsplit(path).query)["q"][0]
        if "broken" in words:
            return 503, b'{"detail": "out of order"}'
        found = [
            {
                "title": f"{words} no. {number}", "creator": f"Painter {TAG}" if "img" in words else "Ada Painter", "license": "by-sa",
                "license_version": "4.0", "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
                "foreign_landing_url": "javascript:document.title=5" if "img" in words else f"https://museum.example/{number}",
                "url": f"https://pictures.example/{words.replace(' ', '-')}/{number}.png", "source": "flickr", "tags": [],
            }
            for number in range(4)
        ]  # fmt: skip
        return 200, json.dumps({"results": found}).encode()


def _picture(path: str) -> tuple[int, bytes]:
    """One of its own for every address."""
    sum_of = sum((at + 1) * byte for at, byte in enumerate(path.encode()))
    return 200, picture("", f"#{sum_of * 7919 % 0xFFFFFF:06x}", (480, 320)).content
