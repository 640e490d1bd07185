"""A thread that closes the models nobody used for long enough. Ends when the slots are closed."""

from __future__ import annotations

import threading
import time

from models.memory.slots import Slots


def unload_idle(slots: Slots, seconds: float) -> threading.Thread:
    """Start it. It sleeps until the next model is due, or something changes."""
    seconds = min(seconds, threading.TIMEOUT_MAX)  # no thread waits longer than some centuries
    thread = threading.Thread(target=_watch, args=(slots, seconds), name="idle models", daemon=True)
    thread.start()
    return thread


def _watch(slots: Slots, seconds: float) -> None:
    while True:
        with slots.changed:
            if slots.closed:
                return
            idle = [slot for slot in slots.local() if slot.idle]
            now = time.monotonic()
            due = [slot for slot in idle if now - slot.last_used >= seconds]
            for slot in due:
                slots.leave(slot)
            if not due:
                first = min((slot.last_used for slot in idle), default=None)
                slots.changed.wait(None if first is None else first + seconds - now)
        for slot in due:
            slots.finish(slot)
