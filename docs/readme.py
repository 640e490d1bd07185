"""The parts of README.md that say what the program itself says: flags, commands, models, files. Run it after changing those.

`python docs/readme.py` rewrites what stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->`; a test fails while
that is not what this makes. Writes nothing else.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from demos import cli  # noqa: E402
from demos.terminal import megabytes  # noqa: E402
from models import catalog  # noqa: E402
from shared.settings import Settings  # noqa: E402

README = ROOT / "README.md"
FOLDERS = (".", "demos", "demos/chat", "models", "models/backends", "shared")


def flags() -> str:
    """One row a setting: what it is called on the command line and in the environment."""
    rows = ["| Flag | Variables | Meaning |", "|---|---|---|"]
    for item in fields(Settings):
        if "internal" in item.metadata:
            continue
        names = ["--" + item.name.replace("_", "-"), *item.metadata["aliases"]]
        variables = [f"PUYU_{item.name.upper()}", *item.metadata["env"]]
        default = item.default if item.default not in ("", 0, False) else ""
        meaning = item.metadata["help"] + (f" ({', '.join(item.metadata['choices'])})" if item.metadata["choices"] else "")
        rows.append(f"| {_code(names)} | {_code(variables)} | {meaning}{f'; default `{default}`' if default != '' else ''} |")
    rows.append('| `--config` | | a TOML file with settings, such as `lang = "zh"`; default `config.toml` in the data folder |')
    return "\n".join(rows)


def commands() -> str:
    """One row a subcommand, with the flags only it has."""
    known = {"--" + item.name.replace("_", "-") for item in fields(Settings)} | {"--help", "--config"}
    parser = argparse.ArgumentParser()
    added = parser.add_subparsers()
    cli.add_commands(added)
    rows = ["| Command | What it does | Its own flags |", "|---|---|---|", "| `python launch.py` | serves the page | |"]
    for choice in added._choices_actions:
        actions = added.choices[choice.dest]._actions
        own = [next(name for name in action.option_strings if name.startswith("--")) for action in actions if action.option_strings]
        values = "".join(f" {action.metavar}" for action in actions if not action.option_strings)
        rows.append(f"| `python launch.py {choice.dest}{values}` | {choice.help} | {_code([name for name in own if name not in known])} |")
    return "\n".join(rows)


def models() -> str:
    """One row a model of the built-in catalog."""
    rows = ["| Model | Runs on | Download | Context | Writes | Licence |", "|---|---|---|---|---|---|"]
    for spec in catalog.read(catalog.BUILT_IN):
        size, languages = megabytes(spec.size_bytes), ", ".join(spec.languages)
        rows.append(f"| `{spec.id}` | {spec.backend} | {size} | {spec.context:,} tokens | {languages} | {spec.licence} |")
    return "\n".join(rows)


def tree() -> str:
    """One line a source file: the first sentence of its docstring."""
    lines = []
    for folder in FOLDERS:
        paths = sorted(path for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py")
        lines.append(f"{folder}/" if folder != "." else "")
        lines += [f"  {path.name:24}{_sentence(path)}" for path in paths]
    return "```text" + "\n".join(lines) + "\n```"


PARTS = {"flags": flags, "commands": commands, "models": models, "tree": tree}


def regenerated(text: str) -> str:
    """`text` with every part made anew. Raises `ValueError` for a part whose markers it does not have."""
    for name, make in PARTS.items():
        part = re.compile(rf"(<!-- begin: {name} -->\n).*?(\n<!-- end: {name} -->)", re.DOTALL)
        text, found = part.subn(lambda match, make=make: match[1] + make() + match[2], text)
        if found != 1:
            raise ValueError(f"README.md has {found} parts named {name}")
    return text


def _code(names: list[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def _sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return re.split(r"(?<=[\w`])[.;] |\.$", " ".join(docstring.split("\n\n")[0].split()))[0]


if __name__ == "__main__":
    README.write_text(regenerated(README.read_text("utf-8")), "utf-8")
