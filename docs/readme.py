"""The parts of README.md and docs/models.md that say what the program itself says: flags, commands, models, files.

Run it after changing those: `python docs/readme.py` rewrites what stands between `<!-- begin: NAME -->` and
`<!-- end: NAME -->`; a test fails while that is not what this makes. Writes nothing else.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from demos import cli  # noqa: E402
from demos.terminal import megabytes  # noqa: E402
from models import catalog  # noqa: E402
from shared.engine import ModelSpec  # noqa: E402
from shared.settings import Settings  # noqa: E402

README, MODELS = ROOT / "README.md", ROOT / "docs" / "models.md"
LAYERS = ("demos", "models", "shared")
_SIZE = re.compile(r"-\d+([._]\d+)?[bm](?=-|$)")  # of a model, in its id


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
    """One row a family of the built-in catalog."""
    families: dict[str, list[ModelSpec]] = {}
    for spec in catalog.read(catalog.BUILT_IN):
        families.setdefault(_SIZE.split(spec.id)[0], []).append(spec)
    rows = ["| Family | Sizes | As | Does | Writes | Licence |", "|---|---|---|---|---|---|"]
    for name, specs in families.items():
        sizes = dict.fromkeys(match[0][1:].upper().replace("_", ".") for spec in specs if (match := _SIZE.search(spec.id)))
        forms = dict.fromkeys("GGUF" if spec.backend == "llama_cpp" else "safetensors" for spec in specs)
        does = [word for word in ("text", "image", "tools") if any(word in spec.capabilities for spec in specs)]
        licences, languages = dict.fromkeys(spec.licence for spec in specs), dict.fromkeys(sum((spec.languages for spec in specs), ()))
        cells = [f"`{name}`", *(", ".join(words) for words in (sizes, forms, does, languages, licences))]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def all_models() -> str:
    """One row a model of the built-in catalog. Memory is what the weights take; the KV cache of the whole context comes on top."""
    rows = ["| Model | Download | Memory, 16 / 8 / 4 bit | KV cache | Context | From | Licence |", "|---|---|---|---|---|---|---|"]
    for spec in catalog.read(catalog.BUILT_IN):
        about = "" if spec.verified else "about "
        memory, cache = _memory(spec), megabytes(spec.cache_bytes * spec.context * max(1, spec.parallel))
        kinds = ", ".join(dict.fromkeys(source.kind for source in spec.sources))
        size, context = megabytes(spec.size_bytes), f"{spec.context:,} tokens" if spec.context else "-"
        rows.append(f"| `{spec.id}` | {about}{size} | {memory} | {cache} | {context} | {kinds} | {spec.licence} |")
    return "\n".join(rows)


def _memory(spec: ModelSpec) -> str:
    if spec.backend != "transformers_local":
        return megabytes(spec.size_bytes)
    rest = spec.parameters - spec.unquantized
    return " / ".join(megabytes(2 * spec.unquantized + rest * bits // 8) for bits in (16, 8, 4))


def tree() -> str:
    """One line a source file: the first sentence of its docstring."""
    lines = []
    found = sorted({path.parent.relative_to(ROOT) for layer in LAYERS for path in (ROOT / layer).rglob("*.py")})
    for folder in (Path("."), *found):
        paths = sorted(path for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py")
        lines.append(f"{folder.as_posix()}/" if folder != Path(".") and paths else "")
        lines += [f"  {path.name:24}{_sentence(path)}" for path in paths]
    return "```text" + "\n".join(lines) + "\n```"


PARTS = {"flags": flags, "commands": commands, "models": models, "tree": tree}
PAGES = {README: PARTS, MODELS: {"models": all_models}}


def regenerated(text: str, parts: Mapping[str, Callable[[], str]] = PARTS) -> str:
    """`text` with every part made anew. Raises `ValueError` for a part whose markers it does not have."""
    for name, make in parts.items():
        part = re.compile(rf"(<!-- begin: {name} -->\n).*?(\n<!-- end: {name} -->)", re.DOTALL)
        text, found = part.subn(lambda match, make=make: match[1] + make() + match[2], text)
        if found != 1:
            raise ValueError(f"the page has {found} parts named {name}")
    return text


def _code(names: list[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def _sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return re.split(r"(?<=[\w`])[.;] |\.$", " ".join(docstring.split("\n\n")[0].split()))[0]


if __name__ == "__main__":
    for page, its_parts in PAGES.items():
        page.write_text(regenerated(page.read_text("utf-8"), its_parts), "utf-8")
