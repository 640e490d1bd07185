"""Puyu Studio: flags -> Settings -> Registry -> the page or a subcommand. The only file with side effects at start.

`import launch` imports neither Gradio nor torch; the page is up before any model is touched.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from demos import cli
from demos.terminal import printable
from models import catalog, zerogpu
from models.memory.footprint import ENDPOINT_BACKENDS
from models.memory.room import this_machine
from models.registry import Registry
from models.zerogpu import TORCH_BACKENDS
from shared import settings as settings_module
from shared import sizes
from shared.engine import ModelSpec, Source
from shared.errors import BadRequest, DemoError, UnknownModel
from shared.settings import Secret, Settings
from shared.version import VERSION

DEMO = ModelSpec("demo", "scripted", (), capabilities=frozenset({"text", "image", "prefill", "choice"}), context=4096)

OURS = ("demos", "models", "shared")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code. A `DemoError` becomes one line on stderr and exit code 2 or 1."""
    parser = _parser()
    flags = vars(parser.parse_args(arguments))
    try:
        settings = settings_module.read(flags, os.environ)
        _prepare(settings)
        return _run(settings, flags)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OURS:
            raise
        remedy = "Run: pip install -r requirements-core.txt (python launch.py doctor says more)"
        sys.stderr.write(f"The package {error.name} is not installed. {remedy}\n")
        return 1
    except DemoError as error:
        sys.stderr.write(f"{printable(error.one_line())}\n")
        return 2 if isinstance(error, UnknownModel | BadRequest) else 1


def build_registry(settings: Settings) -> Registry:
    """The models these settings offer, none loaded yet. Raises `BadRequest` for a broken catalog."""
    from models import added, local  # these need packages; `doctor` must run where there are none
    from models.download import Store

    specs = catalog.read(catalog.BUILT_IN)
    if settings.models:
        specs = catalog.merged(specs, catalog.read(settings_module.expanded(settings.models)))
    specs = catalog.merged(specs, added.Added(settings.data_path / added.FILE).specs())
    if settings.demo:
        specs = (DEMO, *specs)
    if settings.api_base:
        specs = _instead(_endpoint(settings), specs)
    asked = settings.model
    if asked and asked not in {spec.id for spec in specs} and settings_module.expanded(asked).exists():
        specs = _instead(local.spec_of_path(settings_module.expanded(asked)), specs)
        asked = specs[0].id
    specs = zerogpu.offered(tuple(placed(spec, settings) for spec in specs), os.environ, asked=asked)
    store = Store(settings.models_path, source=settings.source, offline=settings.offline)
    limit = sizes.parse(settings.memory)
    return Registry(
        specs, files=store, keep=settings.keep, idle_unload=60 * settings.idle_unload,
        devices=lambda: this_machine(gpu=settings.device != "cpu", limit=limit), adapted=lambda spec: placed(spec, settings),
    )  # fmt: skip


def placed(spec: ModelSpec, settings: Settings) -> ModelSpec:
    """The spec with what was set for every model over what the catalog has; a setting left alone changes nothing."""
    options: dict[str, object] = {}
    if spec.backend in TORCH_BACKENDS:
        options = {name: value for name in ("device", "dtype", "offload") if (value := getattr(settings, name)) not in ("auto", False)}
        if spec.backend != "transformers_local" and options.get("dtype") in ("8bit", "4bit"):
            del options["dtype"]  # for models that write: those that draw and embed are not to be had so
    elif spec.backend == "llama_cpp" and settings.device == "cpu":
        options = {"gpu_layers": 0}
    shorter = 0 < settings.context < (spec.context or settings.context + 1) and spec.backend not in ENDPOINT_BACKENDS
    context = settings.context if shorter else spec.context
    return replace(spec, context=context, options={**spec.options, **options}) if options or shorter else spec


def start_model(settings: Settings, registry: Registry) -> str:
    """The id of the model a conversation starts with: the one asked for, else the endpoint, the script, the default."""
    from models import local

    path = settings_module.expanded(settings.model) if settings.model else None
    if path is not None and settings.model not in {spec.id for spec in registry.specs()} and path.exists():
        return registry.spec(local.spec_of_path(path).id).id
    return registry.spec(settings.model or registry.specs("text")[0].id).id


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    settings_module.add_flags(common)
    parser = argparse.ArgumentParser(
        prog="launch.py", parents=[common], allow_abbrev=False,
        description="Puyu Studio (浦语工坊): chat with local models or any endpoint, on one page.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"Puyu Studio {VERSION}")
    cli.add_commands(parser.add_subparsers(dest="command", metavar="{chat,models,download,doctor}"))
    return parser


def _prepare(settings: Settings) -> None:
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("no_proxy", "NO_PROXY"):  # a proxy in the environment must not swallow our own loopback traffic
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join(dict.fromkeys([*hosts, "localhost", "127.0.0.1", "::1"]))
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if settings.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"


def _run(settings: Settings, flags: dict[str, object]) -> int:
    if flags.get("command") == "doctor":
        return cli.doctor(settings, flags)  # must work where a catalog or a model is broken
    registry = build_registry(settings)
    try:
        if flags.get("command"):
            return cli.run(settings, registry, flags, start_model(settings, registry))
        from demos import app, space  # Gradio is imported only for the page

        space.declare_gpu_function(os.environ)
        return app.serve(settings, registry, start_model(settings, registry))
    finally:
        registry.close()


def _instead(first: ModelSpec, specs: Sequence[ModelSpec]) -> tuple[ModelSpec, ...]:
    """`first` in front, and nothing else of that id: servers and folders often bear the name of a model in the catalog."""
    return (first, *(spec for spec in specs if spec.id != first.id))


def _endpoint(settings: Settings) -> ModelSpec:
    options: dict[str, object] = {"model": settings.api_model, "api_key": Secret(settings.api_key)}
    return ModelSpec(
        settings.api_model or "endpoint", "openai_remote", (Source("endpoint", settings.api_base),),
        capabilities=frozenset({"text", "choice", "tools", "image"}), options=options,
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
