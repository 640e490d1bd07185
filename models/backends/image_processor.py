"""The image processor in a folder of transformers': opened without its other parts, and asked for one picture at a time.

Knows no model: what is made of a picture is for the eyes of a family (`models.backends.eyes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import PIL.Image
from transformers import AutoImageProcessor

from shared.errors import BadRequest, ModelUnavailable

_processors: Any = AutoImageProcessor
_BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, ArithmeticError)


class ImageProcessor:
    """Raises `ModelUnavailable` naming a folder that has none, or a broken one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._processor: Any = _processors.from_pretrained(folder, backend="pil", local_files_only=True, trust_remote_code=False)
        except _BROKEN as error:
            raise self.unusable(error) from error

    def unusable(self, why: object) -> ModelUnavailable:
        return ModelUnavailable(f"{self.folder} does not say how pictures are prepared: {why}", "Download the model again.")

    def setting(self, name: str) -> Any:
        """None where it has no such setting."""
        return getattr(self._processor, name, None)

    def prepared(self, picture: PIL.Image.Image, **how: Any) -> Mapping[str, Any]:
        """Tensors by name. Raises `BadRequest` for a picture of which nothing can be made."""
        try:
            made: Mapping[str, Any] = self._processor(images=[picture], return_tensors="pt", **how)
        except _BROKEN as error:
            size = f"{picture.width:,} x {picture.height:,}"
            raise BadRequest(f"A picture of {size} pixels cannot be prepared for this model: {error}.", "Choose another.") from error
        return made
