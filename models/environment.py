"""The environment of a child process: ours without what others must not learn. Starts none."""

from __future__ import annotations

from collections.abc import Mapping

_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "AUTH")


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """For children that read a model's files and need no account: whatever is in those files finds none."""
    return {name: value for name, value in environment.items() if not any(word in name.upper() for word in _SECRET_WORDS)}
