"""What was found out about the writer's own pictures, kept for as long as their article, so that each is looked at once.

Knows neither models nor pictures: everything is under the sha256 of a content.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Looked:
    """`words` of what is on a picture, by its sha256; `vectors` by model and sha256; `failed` are models that could not be asked.

    Filled by one run at a time, which is all that an article has."""

    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    vectors: dict[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
