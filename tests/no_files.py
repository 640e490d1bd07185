"""For registries whose models need no files: scripts, and engines that a test gives itself."""

from __future__ import annotations

from pathlib import Path

from shared.engine import Cancel, ModelSpec, OnProgress


class NoFiles:
    """`models.registry.Files` of a machine on which nothing lies, and nothing may be fetched."""

    def find(self, spec: ModelSpec) -> Path | None:
        return None

    def fetch(self, spec: ModelSpec, on_progress: OnProgress, cancel: Cancel) -> Path:
        raise AssertionError(f"nobody has files of {spec.id}")

    def delete(self, spec: ModelSpec) -> bool:
        return False
