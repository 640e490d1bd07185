"""What the doctor's checks are given and what they give back. Knows no check.

A check is a function from `Surroundings` to findings; it reads, writes nothing, and ends within `SECONDS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from demos.terminal import printable
from shared.settings import Settings

Status = Literal["ok", "warn", "fail"]
SECONDS = 60.0  # importing torch from a cold disk takes this long on a shared machine
_USERINFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SECRET_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """`fail`: chat cannot work until this is mended; `warn`: something else suffers. `remedy` is what to do."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What checks look at; `root` is where the program and its requirements files lie."""

    settings: Settings
    environment: Mapping[str, str]
    root: Path


Check = Callable[[Surroundings], Iterable[Finding]]


def without_userinfo(text: str) -> str:
    """URLs in `text` with their user and password masked."""
    return _USERINFO.sub("********", text)


def secrets_of(surroundings: Surroundings) -> list[str]:
    """Every text that must not be printed, longest first: keys, passwords, tokens, and the passwords inside URLs."""
    settings, environment = surroundings.settings, surroundings.environment
    found = {settings.api_key, settings.auth}
    found |= {pair.partition(":")[2] for pair in settings.auth.split(",")}
    found |= {value for name, value in environment.items() if _SECRET_NAMES.search(name)}
    for value in (*environment.values(), settings.api_base):
        for userinfo in _USERINFO.findall(value):
            found |= {userinfo, userinfo.partition(":")[2]}
    return sorted((secret for secret in found if len(secret) >= 4), key=len, reverse=True)


def fit_to_print(finding: Finding, secrets: Iterable[str]) -> Finding:
    """`finding` without secrets, and without anything that could drive a terminal: servers and files wrote parts of it."""
    texts = [finding.detail, finding.remedy]
    for at, text in enumerate(texts):
        text = without_userinfo(text)
        for secret in secrets:
            text = text.replace(secret, "********")
        texts[at] = " ".join(printable(text).split())
    return Finding(finding.name, finding.status, *texts)
