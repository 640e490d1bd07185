"""One IPython shell without a terminal: cells run one after another and share their variables.

What a cell prints goes to descriptor 1; pictures go out through `send`. Figures are drawn with matplotlib's Agg and come at the end
of the cell, or where `plt.show()` stands. Knows nothing of pipes or of what binds this process.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

MOST_IMAGES = 10  # of one cell
MOST_PIXELS = 4_000_000
MOST_IMAGE_BYTES = 6_000_000
CHINESE = (  # the first that is installed stands in for the others
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", "SimHei", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Noto Sans CJK JP", "Noto Sans CJK TC", "Droid Sans Fallback", "Arial Unicode MS",
)  # fmt: skip
ASKED = (  # what code names for Chinese text, whatever the machine has
    *CHINESE, "SimSun", "NSimSun", "KaiTi", "FangSong", "DengXian", "STHeiti", "STSong", "STKaiti", "STFangsong", "Heiti SC", "Heiti TC",
    "Songti SC", "Kaiti SC", "PingFang HK", "PingFang TC", "Hiragino Sans GB", "Source Han Sans CN", "Source Han Serif SC",
    "Noto Serif CJK SC", "WenQuanYi Zen Hei Sharp", "LXGW WenKai", "Sarasa Gothic SC",
)  # fmt: skip
SHAPED = (("numpy", "ndarray"), ("pandas", "DataFrame"), ("pandas", "Series"))
NO_PROGRAMS = "Other programs cannot be started here, and packages cannot be installed: only Python runs."


class Hook(DisplayHook):  # type: ignore[misc]
    """The value of a cell's last line: its picture when it has one, else its text, without `Out[1]:`."""

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: dict[str, Any], md_dict: Any = None) -> None:
        _show(self.shell, format_dict)


class Publisher(DisplayPublisher):  # type: ignore[misc]
    def publish(self, data: dict[str, Any], *arguments: Any, **more: Any) -> None:
        _show(self.shell, data)


class Shell(InteractiveShell):  # type: ignore[misc]
    """IPython's shell with its doors to a terminal and to other programs closed."""

    displayhook_class = Hook
    display_pub_class = Publisher
    picture: Callable[[bytes], None]

    def system(self, cmd: str) -> NoReturn:
        raise PermissionError(NO_PROGRAMS)

    system_raw = system_piped = system

    def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> NoReturn:
        raise PermissionError(NO_PROGRAMS)

    def enable_gui(self, gui: Any = None) -> None:
        pass

    def ask_exit(self) -> NoReturn:
        """`exit()` ends the cell, as it ends a script; the session goes on."""
        raise SystemExit

    def init_history(self) -> None:
        """Kept in memory: the default is a database below the home folder, and a thread that writes it."""
        super().init_history()
        self.history_manager.enabled = False

    def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
        if etype is not SystemExit:
            _say(self.InteractiveTB.stb2text(stb))
        elif evalue.code:  # IPython would add advice for a terminal
            _say(_one_line(evalue))


class Kernel:
    def __init__(self) -> None:
        self.send: Callable[..., None] = _nowhere
        self._images = 0
        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.colors = "nocolor"
        config.InteractiveShell.xmode = "Plain"
        self._shell = Shell.instance(config=config)
        self._shell.picture = self._picture
        self._shell.events.register("post_execute", self._flush_figures)  # what it raises is shown like an error of the cell
        for name in ("matplotlib", "pip", "conda", "mamba", "uv"):
            self._shell.register_magic_function(_nothing if name == "matplotlib" else _no_programs, "line", name)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        warnings.filterwarnings("ignore", message="To exit: use", category=UserWarning)  # advice for a terminal
        self._outputs = os.dup(1), os.dup(2)
        self._streams = _stream(1), _stream(2)
        _prepare_pandas()
        self._prepare_figures()
        self._hidden = set(self._shell.user_ns)

    def run(self, code: str) -> str | None:
        """Run one cell; None, or its error in one line."""
        self._restore_streams()
        self._images = 0
        try:
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)  # again each time: the last cell may have changed it
                result = self._shell.run_cell(code, store_history=True)
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                self._restore_streams()
        except KeyboardInterrupt:  # it can come as late as in the lines above
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._restore_streams()
            _say("KeyboardInterrupt")
            return "KeyboardInterrupt"
        error = result.error_before_exec or result.error_in_exec
        if isinstance(error, SystemExit) and not error.code:
            return None
        return None if error is None else _one_line(error)

    def _restore_streams(self) -> None:
        """What a cell may have closed or replaced, as it was; what it printed goes out."""
        for number, output in enumerate(self._outputs, start=1):
            os.dup2(output, number)
            os.set_blocking(number, True)
        self._streams = tuple(_stream(number) if stream.closed else stream for number, stream in enumerate(self._streams, start=1))
        sys.stdout, sys.stderr = self._streams
        for stream in self._streams:
            stream.flush()

    def variables(self) -> list[tuple[str, str, str]]:
        """Name, type and the beginning of the value of what cells defined; no code of theirs is asked for it."""
        known = dict(self._shell.user_ns)  # another thread may go on changing it
        names = [name for name in known if type(name) is str and name not in self._hidden and not name.startswith("_")]
        return [(name, _name_of(type(known[name])), _preview(known[name])) for name in sorted(names)[:200]]

    def _picture(self, png: bytes) -> None:
        self._images += 1
        if self._images > MOST_IMAGES:
            _say(f"(picture {self._images} of this cell was left out: {MOST_IMAGES} are shown)")
        elif len(png) > MOST_IMAGE_BYTES:
            _say(f"(a picture of {len(png) / 1e6:.1f} MB was left out: at most {MOST_IMAGE_BYTES / 1e6:.0f} MB)")
        else:
            self.send("image", data=base64.b64encode(png).decode("ascii"))

    def _prepare_figures(self) -> None:
        if importlib.util.find_spec("matplotlib") is None:
            return
        import matplotlib

        matplotlib.use("agg")
        import matplotlib.pyplot as plt
        from matplotlib import font_manager

        _prepare_fonts(font_manager)
        plt.show = lambda *arguments, **more: self._flush_figures()

    def _flush_figures(self) -> None:
        plt = sys.modules.get("matplotlib.pyplot")
        for number in list(plt.get_fignums()) if plt is not None else ():
            figure = plt.figure(number)
            try:
                self._picture(_png(figure))
            finally:
                plt.close(figure)


def _show(shell: Any, data: dict[str, Any]) -> None:
    """The PNG among `data`, else its plain text; HTML and SVG are not shown: they can carry scripts."""
    png = data.get("image/png")
    if png is not None:
        shell.picture(png if isinstance(png, bytes) else base64.b64decode(png))
    elif "text/plain" in data:
        _say(data["text/plain"])


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _png(figure: Any) -> bytes:
    width, height = figure.get_size_inches()
    dpi = min(figure.dpi, (MOST_PIXELS / max(width * height, 1e-9)) ** 0.5 * 0.99)
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that is missing is said once for every glyph
        figure.savefig(target, format="png", dpi=dpi, bbox_inches=None)
    return target.getvalue()


def _prepare_fonts(manager: Any) -> None:
    """Chinese characters come from a Chinese font that is installed, whatever font code asks for; all others from the one asked for.

    matplotlib turns to the next family of a text for a character that the first has not, but not within `font.sans-serif`."""
    fonts = manager.fontManager.ttflist
    known = {font.name for font in fonts}
    chinese = next((name for name in CHINESE if name in known), None)
    if chinese is None:
        return
    faces = [font for font in fonts if font.name == chinese]
    fonts += [replace(face, name=name) for name in ASKED if name not in known for face in faces]
    families = manager.FontProperties.get_family
    manager.FontProperties.get_family = lambda self: list(dict.fromkeys([*families(self), chinese]))


def _prepare_pandas() -> None:
    if importlib.util.find_spec("pandas") is None:
        return
    import pandas

    pandas.set_option("display.width", 160, "display.max_columns", 30)


def _preview(value: Any) -> str:
    """Exact types only: a subclass could run its own code here."""
    kind = type(value)
    if _among(kind, str, bytes):
        return repr(value[:80])
    if kind is int and value.bit_length() > 256:
        return f"{value.bit_length()} bits"
    if value is None or _among(kind, bool, int, float, complex):
        return repr(value)
    if _among(kind, *(getattr(sys.modules.get(module), name, None) for module, name in SHAPED)):
        return f"shape {value.shape}"
    return f"{len(value)} items" if _among(kind, list, tuple, dict, set, frozenset) else ""


def _among(kind: type, *kinds: object) -> bool:
    """Whether it is one of `kinds` itself: `in` would ask a metaclass."""
    return any(kind is one for one in kinds)


def _name_of(kind: type) -> str:
    """Its name, past whatever its metaclass says."""
    name: str = type.__dict__["__name__"].__get__(kind)
    return name


def _one_line(error: BaseException) -> str:
    """The last line of a syntax error, which shows its place first; else the first, as notes may follow."""
    lines = traceback.format_exception_only(error)
    return lines[-1 if isinstance(error, SyntaxError) else 0].strip()[:500]


def _stream(number: int) -> io.TextIOWrapper:
    return open(number, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def _nothing(line: str) -> None:
    """`%matplotlib inline` asks for what is done here anyway."""


def _no_programs(line: str) -> NoReturn:
    raise PermissionError(NO_PROGRAMS)


def _nowhere(kind: str, **fields: object) -> None:
    raise RuntimeError("the kernel was asked before it was connected")
