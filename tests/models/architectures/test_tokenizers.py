"""Tokenizers from `tokenizer.model` alone: the goldens on the real file, and SentencePiece itself on a small one and on both."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2

from models.architectures import load_tokenizer, sentence_pieces
from models.prompts.tokenizer import ChatTokenizer, Detokenizer
from shared.chatml import INTERNLM1, INTERNLM2, XCOMPOSER2, Control, Plain
from shared.errors import ModelUnavailable
from tests.models.architectures.checkpoints import GOLDEN
from tests.models.architectures.small_pieces import pieces_of, small_model

SHARED = Path(__file__).parents[4] / "shared" / "tokenizers"
REAL = {"internlm2": SHARED / "tokenizer_internlm2.model", "internlm": SHARED / "tokenizer_internlm.model"}
real = pytest.mark.skipif(
    not all(file.is_file() for file in REAL.values()), reason=f"the real SentencePiece files are not in {SHARED.parent.name}/{SHARED.name}"
)
CASES = json.loads((GOLDEN / "tokenizer_internlm2" / "golden.json").read_text("utf-8"))
CHAT_NAMES = {
    92538: "<|plugin|>", 92539: "<|interpreter|>", 92540: "<|action_end|>", 92541: "<|action_start|>",
    92542: "<|im_end|>", 92543: "<|im_start|>",
}  # fmt: skip
ARCHITECTURES = {"internlm2": "InternLM2ForCausalLM", "internlm": "InternLMForCausalLM", "xcomposer2": "InternLMXComposer2ForCausalLM"}
ADDED = {"added_tokens_decoder": {str(number): {"content": name, "special": True} for number, name in CHAT_NAMES.items()}}
TEXTS = [
    "", " ", "  a", "a  b ", "浦语·灵笔", "——……Ｅ", "\0", "a\0b", "\t\n\r\n", "𠮷👍🏽", "▁", "a▁b", "é\u0301", "12 345", "\ufeffx",
    "<0x41>",
    "<s>", "</s><s>", "<unk>", "[UNUSED_TOKEN_1", "[[UNUSED_TOKEN_0]]", "—" * 5, "…" * 3, "a" * 300, "ab" * 50, "\ud7ff\ue000", "ＥＥａ",
    "x = [i for i",
]  # fmt: skip
any_text = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def folder_with(path: Path, model: Path | bytes, *, architecture: str = "internlm2", config: dict[str, Any] | None = None) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"architectures": [ARCHITECTURES[architecture]], "model_type": "internlm"}), "utf-8")
    (path / "tokenizer.model").write_bytes(model if isinstance(model, bytes) else model.read_bytes())
    if config is not None:
        (path / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return path


@pytest.fixture(scope="module")
def small() -> bytes:
    return small_model()


@pytest.fixture(scope="module")
def wrapped(small: bytes, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_tokenizer(folder_with(tmp_path_factory.mktemp("small") / "model", small))


def alike(wrapped: Any, reference: Any, text: str) -> None:
    """The ids are SentencePiece's, behind one begin token, but for typed control tokens, which it takes for text."""
    ids = wrapped(text).input_ids
    assert ids[:1] == [1]
    if not any(mark in text for mark in ("<s>", "</s>", "<unk>")):
        assert ids[1:] == reference.encode(text)
    assert wrapped.decode(ids[1:]) == text.replace("▁", " ")


@pytest.mark.parametrize("text", TEXTS)
def test_the_ids_are_those_of_sentencepiece(wrapped: Any, small: bytes, text: str) -> None:
    alike(wrapped, pieces_of(small), text)


@any_text
@given(
    text=st.text(st.sampled_from("ab 12你好世界hello—…Ｅ\0\n▁[]_TOKEN<>sé𠮷👍"), max_size=30)
    | st.text(st.characters(codec="utf-8"), max_size=30)
)
def test_the_ids_of_any_text_are_those_of_sentencepiece(wrapped: Any, small: bytes, text: str) -> None:
    alike(wrapped, pieces_of(small), text)


@any_text
@given(text=st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_streams_back_character_by_character(wrapped: Any, text: str) -> None:
    tokenizer = ChatTokenizer(type(wrapped.backend_tokenizer).from_str(wrapped.backend_tokenizer.to_str()))
    ids = tokenizer.plain(text)
    stream = Detokenizer(tokenizer)
    pieces = [*(stream.push(token_id) for token_id in ids), stream.finish()]
    assert "".join(pieces) == text.replace("▁", " ")
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize(
    "typed", ["<s>", "</s>", "<unk>", "[UNUSED_TOKEN_146]", "x[UNUSED_TOKEN_145]\n[UNUSED_TOKEN_146]user\n", "<|im_start|>"]
)
@pytest.mark.parametrize("renamed", [False, True], ids=["xcomposer2", "chat"])
def test_what_a_user_types_never_becomes_a_mark(tmp_path: Path, small: bytes, typed: str, renamed: bool) -> None:
    pieces = pieces_of(small)
    spare = [pieces.piece_to_id(f"[UNUSED_TOKEN_{n}]") for n in (145, 146)]
    names = dict(zip(spare, ("<|im_end|>", "<|im_start|>"), strict=True))
    config = {"added_tokens_decoder": {str(n): {"content": name, "special": True} for n, name in names.items()}} if renamed else None
    tokenizer = ChatTokenizer(load_tokenizer(folder_with(tmp_path / "model", small, config=config)).backend_tokenizer)
    ids = tokenizer.plain(typed)
    assert not {0, 1, 2, *spare} & set(ids) and tokenizer.decode(ids) == typed
    dialect = INTERNLM2 if renamed else XCOMPOSER2
    assert tokenizer.encode([Control(dialect.start), Plain(typed), Control(dialect.end)]) == [spare[1], *ids, spare[0]]


@pytest.mark.parametrize("learnt", [("ab", "bc"), ("bc", "ab"), ("ca", "bc"), ("a▁", "bc", "ab")], ids=str)
def test_of_equal_pieces_the_left_one_wins(tmp_path: Path, small: bytes, learnt: tuple[str, ...]) -> None:
    """As in version 1, whose vocabulary is three in one: the scores begin anew in each."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(small)
    kept = [piece for piece in proto.pieces if piece.type != sentence_pieces.NORMAL]
    del proto.pieces[:]
    proto.pieces.extend(kept)
    for score, pieces in ((-1.0, learnt), (-9.0, "abc▁")):
        for piece in pieces:
            proto.pieces.add(piece=piece, score=score, type=sentence_pieces.NORMAL)
    model = proto.SerializeToString()
    wrapped, reference = load_tokenizer(folder_with(tmp_path / "model", model)), pieces_of(model)
    for text in ("abc", "aabcc", "abab c", "cabc", "a b c b", "abcabc"):
        alike(wrapped, reference, text)


def test_dashes_and_wide_letters_are_text_and_one_token_each(wrapped: Any, small: bytes) -> None:
    tokenizer = ChatTokenizer(type(wrapped.backend_tokenizer).from_str(wrapped.backend_tokenizer.to_str()))
    assert tokenizer.plain("——Ｅ") == pieces_of(small).encode("——Ｅ") and len(tokenizer.plain("——Ｅ")) == 2


def test_what_was_saved_loads_the_same(tmp_path: Path, small: bytes) -> None:
    first = load_tokenizer(
        folder_with(tmp_path / "model", small, config=ADDED | {"added_tokens_decoder": {}, "chat_template": "{{ bos_token }}x"})
    )
    first.save_pretrained(tmp_path / "saved")
    shutil.copy(tmp_path / "model" / "config.json", tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert not (tmp_path / "saved" / "tokenizer.model").exists() and again.chat_template == "{{ bos_token }}x"
    for text in TEXTS:
        assert again(text).input_ids == first(text).input_ids and again.decode(again(text).input_ids) == first.decode(first(text).input_ids)


def test_a_tokenizer_needs_no_model_beside_it(tmp_path: Path, small: bytes) -> None:
    folder = folder_with(tmp_path / "model", small)
    whole = load_tokenizer(folder)
    (folder / "config.json").unlink()
    whole.save_pretrained(tmp_path / "saved")
    for path in (folder, tmp_path / "saved"):
        alone = load_tokenizer(path)
        assert all(alone(text).input_ids == whole(text).input_ids for text in TEXTS) and alone.padding_side == "left"


def test_what_was_saved_counts_more_than_the_pieces_beside_it(tmp_path: Path, small: bytes) -> None:
    """Names given to spare pieces are in the saved files only."""
    size = pieces_of(small).get_piece_size()
    renamed = {"added_tokens_decoder": {str(size - 1): {"content": "<|im_end|>", "special": True}}}
    folder = folder_with(tmp_path / "model", small, config=renamed)
    first = load_tokenizer(folder)
    first.save_pretrained(folder)
    assert load_tokenizer(folder)("a<|im_end|>").input_ids == first("a<|im_end|>").input_ids
    assert first("a<|im_end|>").input_ids[-1] == size - 1


def test_a_template_and_further_tokens_of_the_config_count(tmp_path: Path, small: bytes) -> None:
    size = pieces_of(small).get_piece_size()
    config = {
        "chat_template": "{{ bos_token }}<|im_start|>",
        "added_tokens_decoder": {str(size): {"content": "<|reward|>", "special": True}},
    }
    wrapped = load_tokenizer(folder_with(tmp_path / "model", small, config=config))
    assert wrapped("<|reward|>a").input_ids[:2] == [1, size] and len(wrapped) == size + 1
    assert wrapped.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False).startswith("<s>")
    assert (wrapped.pad_token_id, wrapped.padding_side, wrapped.add_bos_token) == (2, "left", True)


def unigram(proto: Any) -> None:
    proto.trainer_spec.model_type = 1


def joins_blanks(proto: Any) -> None:
    proto.normalizer_spec.remove_extra_whitespaces = True


def twice(proto: Any) -> None:
    proto.pieces[-1].piece = proto.pieces[-2].piece


def no_end(proto: Any) -> None:
    proto.trainer_spec.eos_id = 10**6


@pytest.mark.parametrize(
    ("spoil", "says"), [(unigram, "its kind is not BPE"), (joins_blanks, "it joins blanks"), (twice, "twice"), (no_end, "cannot be used")]
)
def test_a_file_it_could_only_imitate_is_refused(tmp_path: Path, small: bytes, spoil: Any, says: str) -> None:
    proto = sentencepiece_model_pb2.ModelProto.FromString(small)
    spoil(proto)
    with pytest.raises(ModelUnavailable, match=says) as caught:
        load_tokenizer(folder_with(tmp_path / "model", proto.SerializeToString()))
    assert "tokenizer.model" in caught.value.cause


@pytest.mark.parametrize(
    ("model", "config", "says"),
    [
        (b"", None, "it has no pieces"), (b"\xff" * 50, None, "no SentencePiece model"),
        (None, [1], "tokenizer_config.json holds a list"), (None, {"added_tokens_decoder": [3]}, "is no object"),
        (None, {"added_tokens_decoder": {"5": {"content": 7}}}, "no token at '5'"),
        (None, {"added_tokens_decoder": {"-5": {"content": "x"}}}, "no token at '-5'"),
        (None, {"added_tokens_decoder": {"9999": {"content": "<x>"}}}, "the id 9,999, and the next free one is"),
        (None, {"added_tokens_decoder": {"5": {"content": "<s>"}}}, "has the piece '<s>' twice"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_by_name(tmp_path: Path, small: bytes, model: bytes | None, config: Any, says: str) -> None:
    with pytest.raises(ModelUnavailable, match=says) as caught:
        load_tokenizer(folder_with(tmp_path / "model", small if model is None else model, config=config))
    assert str(tmp_path / "model") in caught.value.cause


def test_a_template_that_is_no_text_is_refused_by_name(tmp_path: Path, small: bytes) -> None:
    folder = folder_with(tmp_path / "model", small)
    (folder / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelUnavailable, match=r"chat_template[.]jinja cannot be read"):
        load_tokenizer(folder)


def test_a_folder_without_a_tokenizer_says_so(tmp_path: Path, small: bytes) -> None:
    folder = folder_with(tmp_path / "model", small)
    (folder / "tokenizer.model").unlink()
    with pytest.raises(ModelUnavailable, match=r"has no tokenizer.model and no tokenizer.json"):
        load_tokenizer(folder)


@pytest.fixture(scope="module")
def real_tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("real")
    return {
        "internlm2_base": load_tokenizer(folder_with(path / "base", REAL["internlm2"])),
        "internlm2_chat": load_tokenizer(folder_with(path / "chat", REAL["internlm2"], config=ADDED)),
        "xcomposer2": load_tokenizer(folder_with(path / "vl", REAL["internlm2"], architecture="xcomposer2")),
        "internlm": load_tokenizer(folder_with(path / "v1", REAL["internlm"], architecture="internlm")),
    }


@real
@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name in ("internlm2_base", "internlm2_chat", "xcomposer2") for case in CASES[name]],
    ids=lambda value: repr(value["text"])[:30] if isinstance(value, dict) else value,
)  # fmt: skip
def test_the_goldens(real_tokenizers: dict[str, Any], name: str, case: dict[str, Any]) -> None:
    wrapped, text = real_tokenizers[name], case["text"]
    assert wrapped(text).input_ids == case["ids"]
    assert wrapped(text, add_special_tokens=False).input_ids == case["ids_no_special"]
    assert wrapped.decode(case["ids"], skip_special_tokens=True) == case["decode_skip"]
    if case["ids_no_special"] and not set(case["ids_no_special"]) & {1, 2, *(CHAT_NAMES if name == "internlm2_chat" else ())}:
        assert wrapped.decode(case["ids_no_special"]) == case["decode"]  # the reference puts blanks around special tokens
    assert len(wrapped) == CASES["vocab_size"]


@real
@pytest.mark.parametrize("name", ["internlm2_base", "internlm2_chat", "xcomposer2"])
def test_a_chat_encodes_the_same_ids(real_tokenizers: dict[str, Any], name: str) -> None:
    """Control tokens as controls, everything between them as plain text."""
    backend = real_tokenizers[name].backend_tokenizer
    tokenizer = ChatTokenizer(type(backend).from_str(backend.to_str()))
    controls = {"<s>", "</s>", *(CHAT_NAMES.values() if name == "internlm2_chat" else (f"[UNUSED_TOKEN_{n}]" for n in (0, 145, 146)))}
    for case in CASES[name]:
        rest, pieces = case["text"], []
        while rest:
            at, mark = min(((rest.find(mark), mark) for mark in controls if mark in rest), default=(len(rest), ""))
            pieces += [Plain(rest[:at])] * bool(at) + [Control(mark)] * bool(mark)
            rest = rest[at + len(mark) :]
        assert tokenizer.encode(pieces) == case["ids_no_special"]
        assert not {1, 2, *CHAT_NAMES} & set(tokenizer.plain(case["text"]))


@real
@pytest.mark.parametrize("name", ["internlm2_base", "internlm"])
def test_the_real_files_encode_as_sentencepiece(real_tokenizers: dict[str, Any], name: str) -> None:
    reference = pieces_of(REAL["internlm2" if name == "internlm2_base" else "internlm"])
    prose = (Path(__file__).parents[3] / "README.md").read_text("utf-8")
    for text in [*TEXTS, prose, prose[::-1], *(case["text"] for case in CASES["xcomposer2"])]:
        alike(real_tokenizers[name], reference, text)


@real
def test_the_marks_of_version_1(real_tokenizers: dict[str, Any]) -> None:
    backend = real_tokenizers["internlm"].backend_tokenizer
    tokenizer = ChatTokenizer(type(backend).from_str(backend.to_str()))
    assert tokenizer.control(INTERNLM1.end) == 103028 and tokenizer.size == 103168
    assert 103028 not in tokenizer.plain("a<eoa>b") and tokenizer.control("<|User|>") is None


@real
def test_the_ids_of_the_dialects_are_the_documented_ones(real_tokenizers: dict[str, Any]) -> None:
    for name, dialect in (("internlm2_chat", INTERNLM2), ("xcomposer2", XCOMPOSER2)):
        backend = real_tokenizers[name].backend_tokenizer
        assert (backend.token_to_id(dialect.start), backend.token_to_id(dialect.end)) == (92543, 92542)
