"""The doctor's checks of memory, disk, caches, and of the model a conversation starts with. Downloads nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from demos.finding import Finding, Surroundings
from demos.terminal import megabytes
from models import catalog
from shared.engine import ModelSpec
from shared.errors import DemoError
from shared.settings import Settings

LITTLE_MEMORY = 1_000_000_000  # the default model with its KV cache takes about 0.4 GB, the page as much
LITTLE_DISK = 1_000_000_000
MANY_FILES = 200_000  # a cache larger than this is not counted to the end


def memory(surroundings: Surroundings) -> Iterator[Finding]:
    total, free = _memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not total:
        yield Finding("memory", "ok", f"not known on this system; {cores} processor cores")
        return
    detail = f"{megabytes(free)} of {megabytes(total)} free, {cores} processor core{'s' if cores > 1 else ''}"
    if free < LITTLE_MEMORY:
        yield Finding("memory", "warn", detail, "Close other programs, or connect to a server with --api-base.")
    else:
        yield Finding("memory", "ok", detail)


def disk(surroundings: Surroundings) -> Iterator[Finding]:
    """Room and permission where models are kept."""
    folder = surroundings.settings.models_path
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    remedy = "Choose another folder with --models-dir."
    if not place.is_dir() or not os.access(place, os.W_OK):
        yield Finding("disk", "warn", f"{folder} cannot be written", remedy)
    elif free < LITTLE_DISK:
        yield Finding("disk", "warn", f"only {megabytes(free)} free for {folder}", f"Make room, or: {remedy}")
    else:
        yield Finding("disk", "ok", f"{megabytes(free)} free for {folder}")


def caches(surroundings: Surroundings) -> Iterator[Finding]:
    """What earlier downloads take, here and in the caches of the hubs."""
    places = {"models": surroundings.settings.models_path, **_hub_caches(surroundings.environment)}
    parts = [f"{name} {_size(path)} ({path})" for name, path in places.items() if path.is_dir()]
    yield Finding("caches", "ok", "; ".join(parts) or "nothing was downloaded yet")


def model(surroundings: Surroundings) -> Iterator[Finding]:
    """Whether the model to start with is here, or could be fetched. A broken catalog or model is found here too."""
    settings = surroundings.settings
    if settings.demo or settings.api_base:
        yield Finding("model", "ok", "a script answers (--demo)" if settings.demo else "a server answers (--api-base): see endpoint")
        return
    try:
        spec, found = _start_model(settings)
    except DemoError as error:
        yield Finding("model", "fail", error.cause, error.remedy)
        return
    except ImportError as error:
        yield Finding("model", "fail", f"the package {error.name} is not installed", "pip install -r requirements-core.txt")
        return
    if found:
        yield Finding("model", "ok", f"{spec.id} is on disk ({found})")
    elif settings.offline or settings.source == "local":
        detail = f"{spec.id} is not on disk, and nothing may be downloaded"
        yield Finding("model", "fail", detail, f"Once online: python launch.py download {spec.id}")
    else:
        yield Finding("model", "ok", f"{spec.id} is not on disk: {megabytes(spec.size_bytes)} come with the first message")


def model_is_here(surroundings: Surroundings) -> bool:
    """Whether a conversation can start without a download."""
    settings = surroundings.settings
    try:
        return settings.demo or bool(settings.api_base) or _start_model(settings)[1] is not None
    except (DemoError, ImportError):
        return False


def _start_model(settings: Settings) -> tuple[ModelSpec, Path | None]:
    """The model a conversation starts with, and where it lies. Raises `DemoError`, and ImportError on a bare Python."""
    from models import local
    from models.download import Store

    specs = catalog.read(catalog.BUILT_IN)
    if settings.models:
        specs = catalog.merged(specs, catalog.read(Path(settings.models).expanduser()))
    name = settings.model or catalog.DEFAULT_MODEL
    path = Path(name).expanduser()
    is_path = name not in {spec.id for spec in specs} and path.exists()
    spec = local.spec_of_path(path) if is_path else catalog.find(specs, name)
    return spec, Store(settings.models_path, source=settings.source, offline=settings.offline).find(spec)


def _memory() -> tuple[int, int]:
    """Bytes there are and bytes free, the container's limit counted in; zeros where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        amounts = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        total, free = amounts["MemTotal"], amounts["MemAvailable"]
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
        if limit.is_file() and (text := limit.read_text("ascii").strip()) != "max":
            total, free = min(total, int(text)), min(free, int(text) - int(used.read_text("ascii")))
        return total, max(free, 0)
    except FileNotFoundError:
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:  # macOS: what is free is not told in one number
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return total, total
    return 0, 0


def _hub_caches(environment: Mapping[str, str]) -> dict[str, Path]:
    base = Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    hf = Path(environment.get("HF_HOME") or base / "huggingface")
    return {
        "Hugging Face": Path(environment.get("HF_HUB_CACHE") or hf / "hub").expanduser(),
        "ModelScope": Path(environment.get("MODELSCOPE_CACHE") or base / "modelscope").expanduser(),
    }


def _size(folder: Path) -> str:
    """Bytes below `folder`, links not followed; what cannot be read is not counted."""
    total = files = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue
        files += len(names)
        if files > MANY_FILES:
            return f"more than {megabytes(total)}"
    return megabytes(total)
