"""The tokenizers of the InternLM family, from `tokenizer.model` alone, without the code that comes with them.

tokenizer_config.json need not be there; where it is, its names for spare pieces, its further tokens and its chat template
count. The begin token comes first, always once. A folder that was saved by us has a tokenizer.json instead.
Knows nothing of models; which tokens mean what belongs to `shared.chatml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from models.architectures import sentence_pieces
from models.architectures.folder import AGAIN, BROKEN, first_line, read_json
from shared.errors import ModelUnavailable

MODEL, FAST, SETTINGS, TEMPLATE = "tokenizer.model", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"


def read_alone(path: Path) -> Any:
    """That of a folder without a model: of this family where it has its pieces, else whatever was saved there."""
    return read(path) if (path / MODEL).is_file() else open_fast(path, PreTrainedTokenizerFast)


def read(path: Path) -> Any:
    """Raises `ModelUnavailable` naming the file that is missing or broken."""
    settings = read_json(path / SETTINGS) if (path / SETTINGS).is_file() else {}
    saved = settings.get("backend") == "tokenizers" and (path / FAST).is_file()  # by transformers 5: all is in that file
    if saved or not (path / MODEL).is_file():
        if not (path / FAST).is_file():
            raise ModelUnavailable(f"The folder {path} has no {MODEL} and no {FAST}.", AGAIN)
        return open_fast(path, PreTrainedTokenizerFast, add_bos_token=True)
    try:
        proto = sentence_pieces.read_pieces(path / MODEL)
        added = _added_tokens(settings)
        renamed = {number: token.content for number, token in added.items() if number < len(proto.pieces)}
        backend = sentence_pieces.build(proto, {n: name for n, name in renamed.items() if proto.pieces[n].piece != name})
        _append(backend, added, len(proto.pieces))
        begin, end, unknown = (
            proto.pieces[at].piece for at in (proto.trainer_spec.bos_id, proto.trainer_spec.eos_id, proto.trainer_spec.unk_id)
        )
    except (ValueError, LookupError, TypeError, OSError) as error:
        raise ModelUnavailable(f"{path / MODEL} cannot be used: {first_line(error)}.", AGAIN, log=str(error)) from error
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, bos_token=begin, eos_token=end, unk_token=unknown, pad_token=end, padding_side="left",
        add_bos_token=True, add_eos_token=False, clean_up_tokenization_spaces=False, chat_template=_template(path, settings),
    )  # fmt: skip


def open_fast(path: Path, kind: Any, **kwargs: Any) -> Any:
    """What `kind`, a tokenizer class, finds in the folder. Raises `ModelUnavailable` unless that is a fast tokenizer."""
    try:
        tokenizer = kind.from_pretrained(path, local_files_only=True, **kwargs)
    except BROKEN as error:
        raise ModelUnavailable(f"The tokenizer in {path} cannot be read: {first_line(error)}", AGAIN, log=str(error)) from error
    except Exception as error:  # the tokenizers library raises bare Exceptions for a broken tokenizer.json
        if type(error) is not Exception:
            raise
        raise ModelUnavailable(f"{path / FAST} is broken: {first_line(error)}", AGAIN) from error
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ModelUnavailable(f"The folder {path} has no {FAST}.", "Choose a model that has one.")
    return tokenizer


def _added_tokens(settings: Mapping[str, Any]) -> dict[int, AddedToken]:
    """`added_tokens_decoder`: id -> token. Raises `ValueError` when it is not what it should be."""
    listed = settings.get("added_tokens_decoder") or {}
    if not isinstance(listed, dict):
        raise ValueError(f"added_tokens_decoder of {SETTINGS} is no object")
    added = {}
    for number, entry in listed.items():
        content = entry.get("content") if isinstance(entry, dict) else None
        if not isinstance(content, str) or not content or not str(number).isdecimal():
            raise ValueError(f"added_tokens_decoder of {SETTINGS} has no token at {number!r:.40}")
        added[int(number)] = AddedToken(content, normalized=False, special=entry.get("special") is not False)
    return added


def _append(backend: Any, added: Mapping[int, AddedToken], pieces: int) -> None:
    """The tokens behind the last piece, which must follow without a gap."""
    for number in sorted(number for number in added if number >= pieces):
        if number != backend.get_vocab_size(with_added_tokens=True):
            raise ValueError(f"{SETTINGS} adds a token with the id {number:,}, and the next free one is {backend.get_vocab_size():,}")
        backend.add_tokens([added[number]])


def _template(path: Path, settings: Mapping[str, Any]) -> str | None:
    if (path / TEMPLATE).is_file():
        try:
            return (path / TEMPLATE).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ModelUnavailable(f"{path / TEMPLATE} cannot be read: {first_line(error)}.", AGAIN) from error
    template = settings.get("chat_template")
    return template if isinstance(template, str) else None
