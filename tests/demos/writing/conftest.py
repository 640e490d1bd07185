"""What the tests of the writing tab work on: a `Study` of their own, closed behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.demos.writing.desks import Study


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Callable[..., Study]]:
    made: list[Study] = []

    def make(*how: Any, **more: Any) -> Study:
        made.append(Study(tmp_path, *how, **more))
        return made[-1]

    yield make
    for one in made:
        one.shelf.close()
        one.registry.close()
