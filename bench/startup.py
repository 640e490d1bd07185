"""How long until the page answers, beside an empty Gradio app with five tabs, started alternately on this machine.

    python bench/startup.py [runs]

Prints both medians, their ratio (the target is 1.2) and the machine. A start is a new process until `GET /` is answered.
Does not measure what the browser does afterwards.
"""

from __future__ import annotations

import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = 1.2
EMPTY = """
import sys
import gradio as gr
with gr.Blocks() as page:
    with gr.Tabs():
        for name in ("one", "two", "three", "four", "five"):
            with gr.Tab(name):
                gr.Markdown(name)
page.launch(server_port=int(sys.argv[2]), quiet=True, ssr_mode=False)
"""


def main(runs: int) -> None:
    ours, empty = [], []
    with tempfile.TemporaryDirectory() as data:
        for run in range(runs + 1):
            pair = [seconds_to_page([sys.executable, "launch.py", "--data-dir", data]), seconds_to_page([sys.executable, "-c", EMPTY])]
            if run:  # the first pair fills the disk cache
                ours.append(pair[0])
                empty.append(pair[1])
                print(f"run {run}: ours {pair[0]:.2f} s, empty {pair[1]:.2f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    ratio = statistics.median(a / b for a, b in zip(ours, empty, strict=True))
    print(f"median: ours {statistics.median(ours):.2f} s, empty five tabs {statistics.median(empty):.2f} s")
    print(f"ratio (median of {runs} pairs): {ratio:.2f} (target {TARGET}: {'met' if ratio <= TARGET else 'missed'})")
    print(machine())


def seconds_to_page(command: Sequence[str]) -> float:
    """From the start of `command` to its page, on a port of its own."""
    port = free_port()
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    began = time.monotonic()
    process = subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as response:
                    response.read()
                return time.monotonic() - began
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"it ended with code {process.returncode}: {command[1]}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    return f"{os.cpu_count()} x {cpu}, {platform.system()}, Python {platform.python_version()}, gradio {metadata.version('gradio')}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
