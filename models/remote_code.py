"""Whether the code that comes with a model may be fetched and run: only for a model whose catalog entry says so, at one fixed revision.

Knows nothing of loading. Whoever sets `options.trust_remote_code = true` has read that code at that revision.
"""

from __future__ import annotations

import re

from shared.engine import ModelSpec
from shared.errors import BadRequest

OPTION = "trust_remote_code"
FULL_REVISION = re.compile(r"[0-9a-f]{40}")


def opted_in(spec: ModelSpec) -> bool:
    """Raises `BadRequest` for an opt-in without a full revision, or with a source that could serve other code."""
    asked = spec.options.get(OPTION, False)
    if not isinstance(asked, bool):
        raise BadRequest(f"{spec.id}: {OPTION} is {asked!r}.", "Choose true or false.")
    if not asked:
        return False
    loose = [source for source in spec.sources if source.kind != "hf" or not FULL_REVISION.fullmatch(source.revision)]
    if loose or not spec.sources:
        name = f"{loose[0].kind} {loose[0].ref} at {loose[0].revision or 'no revision'}" if loose else "no source"
        raise BadRequest(
            f"{spec.id} would run the code that comes with it, from {name}.",
            "Give it Hugging Face sources alone, each with the full revision (40 hexadecimal digits) whose code you have read.",
        )
    return True
