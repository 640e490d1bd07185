"""Models that draw: diffusers' text-to-image pipelines, from a folder of safetensors. The package is optional (requirements-painting.txt).

Options of its spec: those of `placement`, without 8 and 4 bit; `steps`, `guidance` and `side`, the pixels of a square as the model draws
it best. A dtype of `auto` is the one most of its weights have, but bfloat16 for float16 on a CPU. With `offload`, parts wait on the CPU
until their turn comes, or, where even one is too large for the GPU, every layer does.

No code that comes with a model is run and no pickle opened; weights that are missing or of another shape are refused, part by part.
One thread owns the pipeline (`models.worker`); it looks at `cancel` between the layers of whatever is at work.
Measured on a CPU only, not on a GPU. Does not know what the pictures are for.
"""

from __future__ import annotations

import inspect
import io
import math
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import transformers

from models import pipelines
from models.architectures.folder import AGAIN, BROKEN, first_line
from models.backends import placement
from models.backends.generation import is_out_of_memory, memory_errors
from models.backends.pictures import watched
from models.memory.footprint import painter_dtype
from models.worker import Steps, Worker
from shared.engine import Cancel, Cancelled, ModelSpec, OnProgress, Painting, no_unknown_options
from shared.errors import BadRequest, ModelUnavailable

OWN_OPTIONS = {"steps", "guidance", "side"}
LEAST_SIDE, MOST_SIDE, MOST_STEPS = 64, 2048, 150
LONGEST_PROMPT = 4000  # characters: more than any text encoder reads, and few enough to be tokenized at once
_MOST_SEED = 2**32 - 1


def load(spec: ModelSpec, path: Path | None, *, on_progress: OnProgress, cancel: Cancel) -> DiffusersPainter:
    """The pipeline in the folder `path`. Raises `ModelUnavailable` naming the part that is wrong, or the package that is missing."""
    no_unknown_options(spec, {*placement.OPTIONS, *OWN_OPTIONS})
    _check_options(spec)
    place = placement.place(spec)
    if lacks := pipelines.missing_package():
        raise ModelUnavailable(f"{spec.id} needs the package {lacks}, which is not installed.", pipelines.REMEDY)
    if path is None:
        raise ModelUnavailable(f"{spec.id} has no folder to load.", "Give it a source in the catalog.")
    with memory_errors(f"{spec.id} does not fit into the memory of {place.device}"):
        pipeline = _Folder(path, _dtype(place, path)).pipeline(cancel)
        _put(pipeline, spec, place.device)
    return DiffusersPainter(spec, pipeline)


class DiffusersPainter:
    def __init__(self, spec: ModelSpec, pipeline: Any) -> None:
        self._spec = spec
        self._pipeline: Any = pipeline
        self._worker: Worker[Painting] = Worker(f"model {spec.id}", self._closed_error)

    def paint(
        self, prompt: str, width: int, height: int, *, seed: int | None = None, steps: int = 0, cancel: Cancel | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Painting:  # fmt: skip
        pipeline = self._live()
        seed = secrets.randbelow(_MOST_SEED) if seed is None else seed
        steps = steps or _whole(self._spec, "steps") or 0
        _check_request(prompt, width, height, seed, steps)
        size = fitted(width, height, _whole(self._spec, "side") or 0, _multiple(pipeline))
        run = self._steps(pipeline, prompt, size, seed, steps, cancel if cancel is not None else Cancel(), on_step)
        del pipeline
        return next(iter(list(self._worker.run(run))))

    def close(self) -> None:
        self._pipeline = None
        self._worker.close()
        placement.release()

    def _steps(
        self, pipeline: Any, prompt: str, size: tuple[int, int], seed: int, steps: int, cancel: Cancel,
        on_step: Callable[[int, int], None] | None,
    ) -> Steps[Painting]:  # fmt: skip
        """One step, on the owner thread: a pipeline cannot be left in its middle and taken up again."""

        def stopped() -> bool:
            return cancel.is_set() or self._pipeline is None

        def told(pipe: Any, at: int, _: object, tensors: dict[str, Any]) -> dict[str, Any]:
            if on_step is not None:
                on_step(at + 1, pipe.num_timesteps)
            return tensors

        if stopped():
            raise Cancelled
        arguments = _arguments(self._spec, pipeline, steps, told)
        with memory_errors(f"The memory of {pipeline.device} is too small for this picture"), ExitStack() as stack:
            stack.callback(pipeline.maybe_free_model_hooks)
            for part in _models(pipeline):
                stack.enter_context(watched(part, stopped))
            generator = torch.Generator("cpu").manual_seed(seed)  # the same noise whatever the device
            with torch.inference_mode():
                made = pipeline(prompt=prompt, width=size[0], height=size[1], generator=generator, output_type="pil", **arguments)
        if any(getattr(made, "nsfw_content_detected", None) or ()):
            raise BadRequest(f"{self._spec.id} held back what it drew: its own filter takes it for offensive.", "Say it in other words.")
        picture = made.images[0].convert("RGB")
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=4)
        yield [Painting(file.getvalue(), picture.width, picture.height, seed, pipeline.num_timesteps)]

    def _live(self) -> Any:
        if self._pipeline is None:
            raise self._closed_error()
        return self._pipeline

    def _closed_error(self) -> ModelUnavailable:
        return ModelUnavailable(f"{self._spec.id} was closed.", "Ask again: it is loaded again.")


class _Folder:
    """A folder of parts, each loaded by itself and whole, then put together."""

    def __init__(self, path: Path, dtype: torch.dtype) -> None:
        import diffusers
        from diffusers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self._path = path
        self._dtype = dtype
        self._diffusers: Any = diffusers
        self._parts = pipelines.read(path)
        half = pipelines.variant(file.relative_to(path).as_posix() for file in path.glob("*/*.safetensors"))
        self._variant = {"variant": half} if half else {}

    def pipeline(self, cancel: Cancel) -> Any:
        """Raises `ModelUnavailable` and, between parts, `Cancelled`."""
        models = {}
        for name, (library, kind) in self._parts.classes.items():
            if cancel.is_set():
                raise Cancelled
            loader = self._class(library, kind, name)
            if loader is not None:
                models[name] = self._part(name, loader)
        try:
            made = self._diffusers.AutoPipelineForText2Image.from_pretrained(
                self._path, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=self._dtype, **models
            )
        except BROKEN as error:
            raise self._unusable(error) from error
        made.set_progress_bar_config(disable=True)
        return made

    def _class(self, library: str, kind: str, name: str) -> Any:
        """The class of a part that has weights; None for the others, which the pipeline opens itself."""
        if library == "stable_diffusion":
            from diffusers.pipelines import stable_diffusion as home
        else:
            home = self._diffusers if library == "diffusers" else transformers
        found = getattr(home, kind, None)
        if found is None:
            return None  # a class of another time, which the pipeline knows under its new name
        if not isinstance(found, type):
            raise ModelUnavailable(f"{self._path / name} is a {kind}, which {library} does not know.", "Choose another model.")
        return found if issubclass(found, transformers.PreTrainedModel | self._diffusers.ModelMixin) else None

    def _part(self, name: str, loader: Any) -> Any:
        folder = self._path / name
        try:
            part, report = loader.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype=self._dtype, **self._variant
            )
        except (*BROKEN, RuntimeError) as error:
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            raise self._unusable(error, folder) from error
        for wrong, what in (("missing_keys", "is missing"), ("mismatched_keys", "has another shape than is needed")):
            if names := sorted(str(one[0] if isinstance(one, tuple) else one) for one in report[wrong]):
                raise ModelUnavailable(f"{folder}: the tensor {names[0]} {what}.", AGAIN)
        return part.eval()

    def _unusable(self, error: Exception, where: Path | None = None) -> ModelUnavailable:
        return ModelUnavailable(f"The model in {where or self._path} cannot be loaded: {first_line(error)}", AGAIN, log=str(error))


def fitted(width: int, height: int, side: int, multiple: int) -> tuple[int, int]:
    """The shape asked for, with about as many pixels as a square of `side` (0: as asked), in whole multiples."""
    scale = math.sqrt(side * side / (width * height)) if side else 1.0
    most = MOST_SIDE // multiple * multiple
    made = (round(one * scale / multiple) * multiple for one in (width, height))
    first, second = (min(max(one, -(-LEAST_SIDE // multiple) * multiple), most) for one in made)
    return first, second


def _arguments(spec: ModelSpec, pipeline: Any, steps: int, told: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What this pipeline can be told; the rest stays as its makers have it."""
    taken = inspect.signature(pipeline.__call__).parameters
    guidance = spec.options.get("guidance")
    wanted: dict[str, Any] = {"callback_on_step_end": told}
    wanted |= {"num_inference_steps": steps} if steps else {}
    wanted |= {"guidance_scale": float(str(guidance))} if guidance is not None else {}
    return {name: value for name, value in wanted.items() if name in taken}


def _put(pipeline: Any, spec: ModelSpec, device: torch.device) -> None:
    """All on `device`; where the plan leaves it fewer bytes than the weights have, each part only while it works."""
    most = spec.options.get("gpu_memory")
    if device.type != "cuda" or not isinstance(most, int):
        pipeline.to(device)
        return
    sizes = [sum(one.numel() * one.element_size() for one in part.parameters()) for part in _models(pipeline)]
    if max(sizes, default=0) <= most:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)


def _models(pipeline: Any) -> list[torch.nn.Module]:
    return [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]


def _multiple(pipeline: Any) -> int:
    """Sides are multiples of this: of the pixels one position of the model stands for, twice as many where it takes them in pairs."""
    return max(16, 2 * int(getattr(pipeline, "vae_scale_factor", 8)))


def _check_options(spec: ModelSpec) -> None:
    if spec.options.get("dtype") in placement.QUANTISED:
        raise BadRequest(f"{spec.id} is not to be had at {spec.options['dtype']}.", "Set its dtype to auto.")
    if (_whole(spec, "steps") or 1) > MOST_STEPS or not LEAST_SIDE <= (_whole(spec, "side") or LEAST_SIDE) <= MOST_SIDE:
        cause = f"{spec.id}: steps are at most {MOST_STEPS}, and a side is between {LEAST_SIDE} and {MOST_SIDE}."
        raise BadRequest(cause, "Correct the catalog.")
    guidance = spec.options.get("guidance", 0.0)
    if isinstance(guidance, bool) or not isinstance(guidance, int | float) or not 0 <= guidance <= 50:
        raise BadRequest(f"{spec.id}: guidance is {guidance!r}.", "Give a number from 0 to 50.")


def _whole(spec: ModelSpec, name: str) -> int | None:
    value = spec.options.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise BadRequest(f"{spec.id}: {name} is {value!r}.", "Give a whole number above 0.")
    return value


def _check_request(prompt: str, width: int, height: int, seed: int, steps: int) -> None:
    checks = (
        (bool(prompt.strip()), "there is something to draw"),
        (len(prompt) <= LONGEST_PROMPT, f"a prompt has at most {LONGEST_PROMPT:,} characters"),
        (0 < width <= 16 * MOST_SIDE and 0 < height <= 16 * MOST_SIDE, "a picture has sides above 0"),
        (max(width, height) <= 8 * min(width, height), "a picture is at most eight times as long as short"),
        (0 <= seed <= _MOST_SEED, "a seed is between 0 and 4294967295"),
        (0 <= steps <= MOST_STEPS, f"there are at most {MOST_STEPS} steps"),
    )
    for ok, rule in checks:
        if not ok:
            raise BadRequest(f"This cannot be drawn: {rule}.", "Change it.")


def _dtype(place: placement.Placement, path: Path) -> torch.dtype:
    name = place.dtype if place.dtype != "auto" else painter_dtype(path, place.device.type)
    return getattr(torch, name)  # type: ignore[no-any-return]
