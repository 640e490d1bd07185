"""A fast tokenizer as a chat needs it: prompts of control tokens and plain text to ids, and ids back to text as they come.

Text is encoded with no token special: whatever a user types stays text. An added token that no one could take for a mark
(blanks, a dash, a letter) is text too, as in training. Knows nothing of models or torch; what the control tokens mean belongs
to `shared.chatml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, Tokenizer
from tokenizers.pre_tokenizers import Metaspace

from shared.chatml import PRESERVED, Control, ImageSlot, Piece, Plain
from shared.errors import BadRequest

_CONTEXT_TOKENS = 6  # what a decoder must see of the prompt to know whether a first blank belongs to the text
_INCOMPLETE = "\ufffd"


class ChatTokenizer:
    """Takes `backend` over and changes how it treats special tokens: nobody else may use it afterwards."""

    def __init__(self, backend: Tokenizer) -> None:
        backend.no_truncation()
        backend.no_padding()
        added = backend.get_added_tokens_decoder()
        visible = {token.content for token in added.values() if not token.special} | set(PRESERVED)
        marks = {token_id: token for token_id, token in added.items() if _is_mark(token)}
        backend.add_special_tokens(list(marks.values()))
        backend.encode_special_tokens = True  # "special tokens are encoded like any text"
        if isinstance(backend.pre_tokenizer, Metaspace) and backend.pre_tokenizer.prepend_scheme == "first":
            backend.pre_tokenizer.prepend_scheme = "never"  # a prompt begins with a control token: no text is the first
        self._backend = backend
        self._special = {token_id: token.content for token_id, token in marks.items()}
        self.hidden = frozenset(token_id for token_id, token in added.items() if token.content not in visible)

    @property
    def size(self) -> int:
        """One more than the highest id it can produce."""
        return max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @property
    def marks(self) -> frozenset[str]:
        """The tokens that text never becomes."""
        return frozenset(self._special.values())

    def control(self, token: str) -> int | None:
        """The id of one control token; None when this vocabulary has no such token."""
        token_id: int | None = self._backend.token_to_id(token)
        return token_id

    def text_of(self, token_id: int) -> str:
        """The token with this id, as the vocabulary has it; empty where there is none."""
        return self._backend.id_to_token(token_id) or ""

    def controls(self, tokens: Iterable[str]) -> set[int]:
        """The ids of those of `tokens` that are one token here."""
        return {token_id for token in tokens if (token_id := self.control(token)) is not None}

    def plain(self, text: str) -> list[int]:
        """Ids of text in which nothing is special."""
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")  # halves of a character are joined, or U+FFFD
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        forged = next((self._special[token_id] for token_id in ids if token_id in self._special), "")
        if not forged:
            return ids
        return [token_id for segment in _cut(text, forged) for token_id in self.plain(segment)]

    def encode(self, pieces: Sequence[Piece]) -> list[int]:
        """Ids of a rendered prompt. Raises `BadRequest` for a picture."""
        ids: list[int] = []
        for piece in pieces:
            match piece:
                case Control(token):
                    token_id = self.control(token)
                    ids += self.plain(token) if token_id is None else [token_id]
                case Plain(text):
                    ids += self.plain(text)
                case ImageSlot():
                    raise BadRequest("This model reads text only.", "Remove the picture, or choose a model that sees pictures.")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._backend.decode(list(ids), skip_special_tokens=False)
        return text


def _is_mark(token: AddedToken) -> bool:
    return bool(token.content.strip()) and (token.special or any(sign in token.content for sign in "<>[]|"))


def _cut(text: str, mark: str) -> list[str]:
    """`text`, cut inside each `mark`: some vocabularies hold their special tokens as ordinary words as well."""
    head, tail, parts = mark[:1], mark[1:], text.split(mark)
    if len(parts) == 1 or not tail:
        raise BadRequest(f"This model's tokenizer takes a part of the text for its own mark {mark}.", "Leave that part out.")
    return [parts[0] + head, *(tail + part + head for part in parts[1:-1]), tail + parts[-1]]


class Detokenizer:
    """Ids in, text out, no character before it is whole. `prompt` is what the ids continue.

    A token is decoded together with those before it, as some decoders join neighbours; what was read already is cut off.
    """

    def __init__(self, tokenizer: ChatTokenizer, prompt: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt[-_CONTEXT_TOKENS:])
        while _INCOMPLETE in tokenizer.decode(self._ids):  # it begins inside a character
            del self._ids[0]
        self._shown = len(self._ids)  # ids before this one have been given out, and are only context

    def push(self, token_id: int) -> str:
        """The text that is complete with this token; hidden special tokens have none."""
        if token_id in self._tokenizer.hidden:
            return ""
        self._ids.append(token_id)
        text = self._pending()
        if not text or text.endswith(_INCOMPLETE):
            return ""
        self._ids, self._shown = self._ids[self._shown :], len(self._ids) - self._shown
        return text

    def finish(self) -> str:
        """What never became a whole character, as the decoder shows it."""
        text = self._pending()
        self._ids, self._shown = [], 0
        return text

    def _pending(self) -> str:
        return self._tokenizer.decode(self._ids)[len(self._tokenizer.decode(self._ids[: self._shown])) :]
