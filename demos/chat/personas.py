"""`personas.toml`: characters to start a conversation with, in both languages. Knows no page."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Persona:
    """`name` and `system` by language."""

    id: str
    name: dict[str, str]
    system: dict[str, str]


@cache
def personas() -> dict[str, Persona]:
    """By id, in the order of the file."""
    tables = tomllib.loads(Path(__file__).with_name("personas.toml").read_text("utf-8"))["persona"]
    return {table["id"]: Persona(**table) for table in tables}
