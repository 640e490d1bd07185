"""Prompts with pictures for the server of a GGUF: one string with an unguessable marker for each picture, and the pictures beside it.

llama.cpp takes such prompts as text only and reads its special tokens in all of it. So what people wrote is taken apart where it
would be one (`<|im_end|>` becomes `< |im_end|>`), and the server's own reading of the string is compared with what was meant before
it is answered; without pictures a prompt goes as ids and stays exactly what it was. What a picture costs, the server says: it cuts up
an empty one of that size, which is remembered by size.

Knows no dialect. Pictures are opened by `models.picture_files`, and go as PNG.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from io import BytesIO

import PIL.Image

from models.backends.llama_process import Child
from models.gguf import Header
from models.picture_files import open_picture, size_of, upright
from shared import chatml
from shared.chatml import Control, Dialect, ImageSlot, Piece, Plain
from shared.errors import BadRequest, ModelUnavailable
from shared.messages import Detail, Image

MOST_PIXELS = 12_000_000  # sent of one picture; no projector looks at more than a third of that
MOST_ASPECT = 200  # beyond it the projectors' arithmetic ends in pictures of no width; Qwen's own processor draws the same line
Tokens = Callable[[str, bool], tuple[int, ...]]  # text, and whether special tokens in it are read


class Sight:
    """How one loaded model is shown pictures. `tile` is the side in pixels of what its projector sees in one piece (0: not known)."""

    def __init__(self, name: str, child: Child, tokens: Tokens, header: Header, dialect: Dialect, marker: str, tile: int) -> None:
        self._name, self._tokens, self._marker, self._tile = name, tokens, marker, tile
        self._specials = header.specials
        self._divided = chatml.divider({*header.specials.values(), marker, dialect.start, dialect.end, *dialect.stop})
        self._begin = _begin_of(name, child)
        self._cost = lru_cache(maxsize=512)(partial(_cost, name, child, len(self._begin)))

    def picture_tokens(self, width: int, height: int, detail: Detail) -> int:
        """Raises `BadRequest` for a size that the projector takes nothing of."""
        return self._cost(*self._sent_size(width, height, detail))

    def count(self, pieces: Sequence[Piece]) -> int:
        """Tokens of the whole prompt; of the pictures only the sizes are read."""
        texts = sum(len(self._tokens(text, True)) for text in self._texts(pieces))
        return len(self._begin) + texts + sum(self.picture_tokens(*_size(image), image.detail) for image in _images(pieces))

    def prompt(self, pieces: Sequence[Piece]) -> dict[str, object]:
        """What the server's `prompt` is. Raises `BadRequest` naming a picture that cannot be read."""
        shown = [base64.b64encode(self._png(image)).decode() for image in _images(pieces)]
        return {"prompt_string": self._marker.join(self._texts(pieces)), "multimodal_data": shown}

    def _texts(self, pieces: Sequence[Piece]) -> list[str]:
        """What stands before, between and behind the pictures."""
        first = pieces[0] if pieces else None
        if self._begin and isinstance(first, Control) and self._tokens(first.token, True) == self._begin:
            pieces = pieces[1:]  # the server writes it itself
        texts, meant = [""], [list[int]()]
        for piece in pieces:
            match piece:
                case Control(token):
                    texts[-1] += token
                    meant[-1] += [token_id for token_id in self._tokens(token, True) if token_id in self._specials]
                case Plain(text):
                    texts[-1] += self._apart(text)
                case ImageSlot():
                    texts.append("")
                    meant.append([])
        if any(self._read_in(text) != own for text, own in zip(texts, meant, strict=True)):
            raise self._forged()
        return texts

    def _apart(self, text: str) -> str:
        """`text` with a blank inside everything that would be read as more than text."""
        apart = " ".join(self._divided(text))
        if self._read_in(apart) or self._tokens(apart, True) != self._tokens(apart, False):
            raise self._forged()
        return apart

    def _read_in(self, text: str) -> list[int]:
        return [token_id for token_id in self._tokens(text, True) if token_id in self._specials]

    def _forged(self) -> BadRequest:
        return BadRequest(
            f"The conversation holds signs that {self._name} reads as marks of its own, and that cannot be taken apart.",
            "Remove what looks like <|…|> from it, or ask without pictures.",
        )

    def _sent_size(self, width: int, height: int, detail: Detail) -> tuple[int, int]:
        """A picture looked at with little detail is one tile at most, where that makes it cheaper."""
        if max(width, height) > MOST_ASPECT * min(width, height):
            raise _unseen(self._name, width, height)
        size = _within(width, height, math.sqrt(MOST_PIXELS / max(1, width * height)))
        if detail != "low" or not self._tile:
            return size
        small = _within(width, height, self._tile / max(width, height))
        return small if self._cost(*small) < self._cost(*size) else size

    def _png(self, image: Image) -> bytes:
        picture = upright(open_picture(image), image)
        size = self._sent_size(*picture.size, image.detail)
        return _png(picture if picture.size == size else picture.resize(size, PIL.Image.Resampling.LANCZOS))


def _begin_of(name: str, child: Child) -> tuple[int, ...]:
    """What the server puts before every prompt with pictures: the begin token, where the vocabulary says so."""
    bare, whole = child.tokenize("a", False), child.tokenize("a", False, begin=True)
    if whole[len(whole) - len(bare) :] != bare:
        raise ModelUnavailable(f"{name} ends every prompt by itself, so it cannot be shown pictures.", "Choose another model.")
    return whole[: len(whole) - len(bare)]


def _cost(name: str, child: Child, begin: int, width: int, height: int) -> int:
    """Tokens of a picture of that size, as the server cuts up an empty one; nothing of the model is computed for it."""
    empty = base64.b64encode(_png(PIL.Image.new("RGB", (width, height)))).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{empty}"}}
    response = child.ask("/v1/chat/completions/input_tokens", {"messages": [{"role": "user", "content": [part]}]})
    if response.status_code != 200:
        raise _unseen(name, width, height)
    return int(response.json()["input_tokens"]) - begin


def _unseen(name: str, width: int, height: int) -> BadRequest:
    return BadRequest(f"{name} cannot look at a picture of {width:,} x {height:,} pixels.", "Cut it, or choose another model.")


def _images(pieces: Sequence[Piece]) -> Iterator[Image]:
    return (piece.image for piece in pieces if isinstance(piece, ImageSlot))


def _size(image: Image) -> tuple[int, int]:
    return size_of(open_picture(image))


def _within(width: int, height: int, scale: float) -> tuple[int, int]:
    return (width, height) if scale >= 1 else (max(1, round(width * scale)), max(1, round(height * scale)))


def _png(picture: PIL.Image.Image) -> bytes:
    made = BytesIO()
    picture.save(made, "PNG", compress_level=1)
    return made.getvalue()
