"""The house plan, checked: who may import whom, where special tokens may stand, how long things may get."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([ROOT / "launch.py", *(path for top in ("shared", "models", "demos") for path in (ROOT / top).rglob("*.py"))])
LAYERS = ("shared", "models", "demos", "launch")  # each may import those before it
HEAVY = ("torch", "transformers")
TORCH_FOLDERS = ("models/backends/", "models/architectures/")
SHELL = {f"demos/{name}.py" for name in ("app", "components", "render", "theme", "cards", "labels", "parts", "conversation")}
GRADIO_NAMES = ("ui.py", "cards.py", "panel.py", "api.py")  # a tab's page with its own components, and its endpoint
SPECIAL_TOKENS = (
    "<|im_start|>", "<|im_end|>", "<|action_start|>", "<|action_end|>", "<|plugin|>", "<|interpreter|>", "<|endoftext|>", "[UNUSED_TOKEN",
    "<tool_call>", "</tool_call>", "<think>", "</think>", "<|User|>", "<|Bot|>", "<eoa>",
)  # fmt: skip
MOST_LINES, MOST_FUNCTION_LINES = 320, 60
each_file = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def parsed(path: Path) -> ast.Module:
    """Once a file, and without a collection meanwhile: where one runs a finaliser in mid-parse, Python 3.11 raises SystemError
    (gh-106905)."""
    gc.disable()
    try:
        return ast.parse(path.read_text("utf-8"))
    finally:
        gc.enable()


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def layer_of(path: Path) -> str:
    return name_of(path).removesuffix(".py").split("/")[0]


def imports(path: Path, *, at_load: bool = False) -> Iterator[str]:
    """The dotted names of the modules that `path` imports; `at_load` only those it imports as soon as it is imported."""
    tree = parsed(path)
    for node in tree.body if at_load else ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom():
                pytest.fail(f"{name_of(path)}: a relative import")


@each_file
def test_imports_go_down_only(path: Path) -> None:
    allowed = LAYERS[: LAYERS.index(layer_of(path)) + 1]
    used = {name.split(".")[0] for name in imports(path)} & {*LAYERS, "tests", "bench"}
    assert used <= set(allowed)


@pytest.mark.parametrize("path", [path for path in SOURCES if layer_of(path) == "shared"], ids=name_of)
def test_shared_imports_the_standard_library_only(path: Path) -> None:
    assert {name.split(".")[0] for name in imports(path)} <= {*sys.stdlib_module_names, "shared"}


@each_file
def test_tabs_do_not_know_each_other(path: Path) -> None:
    parts = name_of(path).split("/")
    tab = parts[1] if parts[0] == "demos" and len(parts) > 2 else None
    tabs = {folder.name for folder in (ROOT / "demos").iterdir() if (folder / "ui.py").is_file()}
    others = {name.split(".")[1] for name in imports(path) if name.startswith("demos.")} & tabs - {tab}
    assert tab is None or not others


@each_file
def test_torch_stays_in_its_place(path: Path) -> None:
    if not name_of(path).startswith(TORCH_FOLDERS):
        assert not {name.split(".")[0] for name in imports(path)} & set(HEAVY)


@each_file
def test_gradio_stays_in_its_place(path: Path) -> None:
    parts = name_of(path).split("/")
    allowed = name_of(path) in SHELL or (parts[0] == "demos" and len(parts) == 3 and parts[2] in GRADIO_NAMES)
    assert allowed or "gradio" not in {name.split(".")[0] for name in imports(path)}


def test_launch_imports_nothing_heavy() -> None:
    """What `import launch` loads, followed through our own modules."""
    waiting, seen, outside = [ROOT / "launch.py"], set[Path](), set[str]()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        for name in imports(path, at_load=True):
            module = ROOT.joinpath(*name.split("."))
            found = [file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file()]
            waiting += [file for file in found if file not in seen]
            outside |= set() if found else {name.split(".")[0]}
    assert len(seen) > 5
    assert not outside & {"gradio", "lagent", "openai", "xllamacpp", *HEAVY}


@each_file
def test_special_tokens_stand_in_one_place(path: Path) -> None:
    if name_of(path) == "shared/chatml.py":
        return
    tree = parsed(path)
    documentation = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, DOCUMENTED)}
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)} - documentation
    assert not [(token, text[:60]) for text in texts for token in SPECIAL_TOKENS if token in text]


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@each_file
def test_nothing_grows_too_long(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    functions = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not [node.name for node in functions if (node.end_lineno or 0) - node.lineno + 1 > MOST_FUNCTION_LINES]
