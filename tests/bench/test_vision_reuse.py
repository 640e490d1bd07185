"""The models that are timed see pictures as the releases do whose names they bear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import vision_reuse
from bench.stop import opened
from models import local
from models.backends import transformers_local
from shared.messages import Message, Text, user


@pytest.mark.parametrize(
    ("made", "positions", "around"),
    [(vision_reuse.xcomposer2, 1225, 0), (vision_reuse.smolvlm, 13 * 64, 3 + 12 * 2 + 4)],  # its marks: 12 parts, 4 line ends, the whole
    ids=["xcomposer2", "smolvlm"],
)
def test_a_picture_takes_the_positions_of_the_release(made: Callable[[Path], Path], positions: int, around: int, tmp_path: Path) -> None:
    folder = made(tmp_path / "model")
    image = vision_reuse.picture(tmp_path / "picture.png")
    engine = opened(local.spec_of_path(folder), folder, transformers_local)
    try:
        with_picture = engine.count([Message("user", (image, Text("hello")))])
        assert with_picture - engine.count([user("hello")]) == positions + around
    finally:
        engine.close()
