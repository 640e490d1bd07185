"""README.md says what the program says, and points at what is there."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

import launch

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme", ROOT / "docs" / "readme.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_generated_parts_are_what_the_program_says_now(page: str) -> None:
    made, text = generator(), (ROOT / page).read_text("utf-8")
    assert made.regenerated(text, made.PAGES[ROOT / page]) == text, "run: python docs/readme.py"


def test_a_missing_part_is_noticed() -> None:
    with pytest.raises(ValueError, match="flags"):
        generator().regenerated("no markers")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert not [target for target in targets if target and not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_launch_command_on_a_page_is_one_the_program_takes(page: Path) -> None:
    """Parsed by the program's own parser; an unknown flag or command would end it."""
    parser = launch._parser()
    for block in re.findall(r"```(?:bash|sh)\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL):
        for line in block.splitlines():
            found = re.search(r"python3? launch\.py(.*?)(\s+#.*)?$", line)
            if found:
                parser.parse_args(_words(found[1]))


def _words(line: str) -> list[str]:
    return shlex.split(line.partition("|")[0])
