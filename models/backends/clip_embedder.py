"""Models that lay texts and pictures into one space: CLIP, Chinese-CLIP and both SigLIPs, from safetensors through transformers.

Options of its spec: `device` and `dtype` (`models.backends.placement`). What lies near in that space belongs together as its makers saw
it; how near is near enough differs from model to model, and is not known here. Does not know where a folder came from.

One thread owns the model (`models.worker`); it looks at `cancel` between batches and, inside one, between layers.
Measured on a CPU only, not on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import PIL.Image
import torch
from transformers import AutoTokenizer

from models.architectures import describe_encoder
from models.architectures.folder import AGAIN, BROKEN, first_line
from models.backends import placement
from models.backends.generation import memory_errors
from models.backends.image_processor import ImageProcessor
from models.backends.pictures import watched
from models.picture_files import open_picture, upright
from models.worker import Steps, Worker
from shared.engine import Cancel, Cancelled, ModelSpec, OnProgress, Vector, no_unknown_options
from shared.errors import BadRequest, ModelUnavailable
from shared.messages import Image

T = TypeVar("T")
TEXTS_AT_ONCE, IMAGES_AT_ONCE = 32, 8
_MOST_LONGISH = 3  # times the short side: of a longer picture only the middle is seen, by a model that cuts out a square
_LEAST_LENGTH = 1e-12


@dataclass(frozen=True, slots=True)
class Family:
    """How texts were prepared in training: at most `tokens` of them (0: as many as there are positions), `padded` to that length with
    nothing masked, in `lower` case."""

    tokens: int = 0
    padded: bool = False
    lower: bool = False


# Chinese-CLIP's text tower is a BERT of 512 positions that was trained on 52; its makers' own `tokenize` cuts there
FAMILIES = {
    "clip": Family(), "chinese_clip": Family(tokens=52), "siglip": Family(padded=True, lower=True),
    "siglip2": Family(padded=True, lower=True),
}  # fmt: skip


def load(spec: ModelSpec, path: Path | None, *, on_progress: OnProgress, cancel: Cancel) -> ClipEmbedder:
    """The model in the folder `path`. Raises `ModelUnavailable` naming the file or tensor that is wrong."""
    no_unknown_options(spec, {*placement.OPTIONS, "pickle"})
    if spec.options.get("dtype") in placement.QUANTISED:
        raise BadRequest(f"{spec.id} is not to be had at {spec.options['dtype']}: it is small.", "Set its dtype to auto.")
    place = placement.place(spec)
    if path is None:
        raise ModelUnavailable(f"{spec.id} has no folder to load.", "Give it a source in the catalog.")
    described = describe_encoder(path, FAMILIES)
    if cancel.is_set():
        raise Cancelled
    with memory_errors(f"{spec.id} does not fit into the memory of {place.device}"):
        model: Any = described.load(dtype=_dtype(place, described.config), **place.arguments)
        if "device_map" not in place.arguments:
            model = model.to(place.device)
    return ClipEmbedder(spec, Towers(model, _tokenizer(path), ImageProcessor(path)))


class Towers:
    """The loaded model with what prepares its texts and pictures. Used by the owner thread only."""

    def __init__(self, model: Any, tokenizer: Any, processor: ImageProcessor) -> None:
        family = FAMILIES[model.config.model_type]
        text = model.config.get_text_config()
        positions = text.max_position_embeddings
        if len(tokenizer) > text.vocab_size:
            cause = f"{processor.folder} has a tokenizer of {len(tokenizer):,} tokens, and the model knows {text.vocab_size:,}"
            raise ModelUnavailable(f"{cause}: they belong to two models.", AGAIN)
        self.model = model
        self._family = family
        self._tokens = min(family.tokens or positions, positions)
        self._tokenizer = tokenizer
        self._processor = processor

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """[texts, width], not of length 1 yet."""
        prepared = dict(self._tokenizer(
            [text.lower() for text in texts] if self._family.lower else list(texts), return_tensors="pt", truncation=True,
            max_length=self._tokens, padding="max_length" if self._family.padded else "longest",
        ))  # fmt: skip
        if self._family.padded:
            prepared.pop("attention_mask", None)
        return self._features(self.model.get_text_features, prepared)

    def images(self, images: Sequence[Image]) -> torch.Tensor:
        prepared = [self._processor.prepared(self._seen(image)) for image in images]
        return self._features(self.model.get_image_features, {name: torch.cat([one[name] for one in prepared]) for name in prepared[0]})

    def _seen(self, image: Image) -> PIL.Image.Image:
        picture = upright(open_picture(image), image)
        return middle(picture) if self._processor.setting("do_center_crop") else picture

    def _features(self, tower: Callable[..., Any], prepared: dict[str, Any]) -> torch.Tensor:
        device, dtype = self.model.device, self.model.dtype
        given = {name: one.to(device, dtype) if one.is_floating_point() else one.to(device) for name, one in prepared.items()}
        with torch.inference_mode():
            features: torch.Tensor = tower(**given).pooler_output
            return features.float().cpu()


class ClipEmbedder:
    def __init__(self, spec: ModelSpec, towers: Towers) -> None:
        self._spec = spec
        self._towers: Towers | None = towers
        self._worker: Worker[Vector] = Worker(f"model {spec.id}", self._closed_error)

    def embed_texts(self, texts: Sequence[str], *, cancel: Cancel | None = None) -> list[Vector]:
        towers = self._live()
        return list(
            self._worker.run(self._steps(towers, towers.texts, _batches(texts, TEXTS_AT_ONCE), cancel if cancel is not None else Cancel()))
        )

    def embed_images(self, images: Sequence[Image], *, cancel: Cancel | None = None) -> list[Vector]:
        towers = self._live()
        return list(
            self._worker.run(
                self._steps(towers, towers.images, _batches(images, IMAGES_AT_ONCE), cancel if cancel is not None else Cancel())
            )
        )

    def close(self) -> None:
        self._towers = None
        self._worker.close()
        placement.release()

    def _steps(
        self, towers: Towers, tower: Callable[[Sequence[T]], torch.Tensor], batches: Iterator[Sequence[T]], cancel: Cancel
    ) -> Steps[Vector]:
        """A batch a step, on the owner thread."""
        for batch in batches:
            if cancel.is_set():
                raise Cancelled
            with (
                memory_errors(f"The memory of {towers.model.device} is full"),
                watched(towers.model, lambda: cancel.is_set() or self._towers is None),
            ):
                features = tower(batch)
            yield self._unit(features)

    def _unit(self, features: torch.Tensor) -> list[Vector]:
        lengths = features.norm(dim=-1, keepdim=True)
        if not math.isfinite(float(lengths.sum())) or float(lengths.min()) < _LEAST_LENGTH:
            raise ModelUnavailable(f"{self._spec.id} gives no numbers: its weights are broken, or its dtype does not suit it.", AGAIN)
        return [tuple(vector) for vector in (features / lengths).tolist()]

    def _live(self) -> Towers:
        if self._towers is None:
            raise self._closed_error()
        return self._towers

    def _closed_error(self) -> ModelUnavailable:
        return ModelUnavailable(f"{self._spec.id} was closed.", "Ask again: it is loaded again.")


def middle(picture: PIL.Image.Image) -> PIL.Image.Image:
    """`picture` without what a square from its middle leaves out anyhow: a strip would first be blown up until its short side fits."""
    most = _MOST_LONGISH * min(picture.size)
    left, top = (max(0, (side - most) // 2) for side in picture.size)
    return picture.crop((left, top, picture.width - left, picture.height - top)) if left or top else picture


def _batches(whole: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (whole[at : at + size] for at in range(0, len(whole), size))


def _dtype(place: placement.Placement, config: Any) -> Any:
    """`auto` is the checkpoint's own, but bfloat16 for a float16 checkpoint on a CPU."""
    if place.dtype != "auto":
        return getattr(torch, place.dtype)
    return torch.bfloat16 if place.device.type == "cpu" and config.dtype is torch.float16 else "auto"


def _tokenizer(path: Path) -> Any:
    """Raises `ModelUnavailable`."""
    opener: Any = AutoTokenizer
    try:
        return opener.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except BROKEN as error:
        raise ModelUnavailable(f"The tokenizer in {path} cannot be read: {first_line(error)}", AGAIN, log=str(error)) from error
    except Exception as error:  # the tokenizers library raises bare Exceptions for a broken tokenizer.json
        if type(error) is not Exception:
            raise
        raise ModelUnavailable(f"The tokenizer in {path} is broken: {first_line(error)}", AGAIN) from error
