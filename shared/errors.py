"""What can go wrong in a way the user can do something about.

    DemoError
    ├── UnknownModel       no such id; the message lists the known ones
    ├── ModelUnavailable   weights, a package or a file are missing or broken; the message says what to install or fetch
    ├── OutOfMemory        it did not fit
    ├── BadRequest         the request cannot be answered as asked (too long, an unsupported part, an impossible option)
    └── RemoteFailure      a server we depend on failed, refused or vanished

Knows nothing of how errors are shown. Anything that is not a `DemoError` is a bug of ours: let it propagate.
"""

from __future__ import annotations


class DemoError(Exception):
    """A failure with its cause in `str(error)` and what to do about it in `remedy`; `log` is detail for experts."""

    def __init__(self, cause: str, remedy: str = "", *, log: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.log = log

    def one_line(self) -> str:
        """Cause and remedy on one line, for terminals and logs."""
        return " ".join(f"{self.cause} {self.remedy}".split())


class UnknownModel(DemoError):
    pass


class ModelUnavailable(DemoError):
    pass


class OutOfMemory(DemoError):
    pass


class BadRequest(DemoError):
    pass


class RemoteFailure(DemoError):
    pass
