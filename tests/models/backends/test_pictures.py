"""Prompts with pictures on tiny models, in float32: what is reused equals what is computed anew, and what `generate` writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from transformers import AutoImageProcessor, Gemma3Config, Gemma3ForConditionalGeneration
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from models import local
from models.architectures import load_model, load_tokenizer
from models.architectures.tiles import image_pixels
from models.backends import transformers_local
from models.backends.eyes import FAMILIES, blind, eyes_of
from models.backends.generation import PREFILL_BATCH, Decoder
from models.backends.pictures import Gaze, Layout, Prompt, Seen, prompt_of
from models.backends.prefix_cache import Prefix
from models.backends.qwen_eyes import QWEN_FAMILIES
from models.backends.transformers_local import TransformersLocal
from models.picture_files import open_picture, size_of, upright
from models.prompts.tokenizer import ChatTokenizer
from shared import chatml
from shared.chatml import ImageSlot, Plain
from shared.engine import Cancel, ModelSpec, Sampling, SeesPictures
from shared.errors import BadRequest
from shared.events import Done, Event, PromptProgress, TextDelta
from shared.messages import DETAILS, Detail, Image, Message, Text, assistant, system, user
from tests.seeing_models import IMAGE_TOKEN, image_of, native_folder, picture, xcomposer2_folder
from tests.tiny_models import tiny_llama_folder, tiny_tokenizer

torch.set_num_threads(1)
GREEDY = Sampling(temperature=0, max_tokens=16)
POSITIONS = 36
LONG = "The capital of France is Paris. " * 40


class CancelAfter(Cancel):
    """Set as soon as it was looked at this often."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def is_set(self) -> bool:
        self._looks -= 1
        if self._looks < 0:
            self.set()
        return super().is_set()


def opened(folder: Path, dialect: str = "xcomposer2", **fields: Any) -> TransformersLocal:
    spec = ModelSpec("tiny", "transformers_local", (), dialect=dialect, **fields)
    return transformers_local.load(spec, folder, on_progress=lambda progress: None, cancel=Cancel())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return xcomposer2_folder(tmp_path_factory.mktemp("composer") / "model")


@pytest.fixture
def engine(folder: Path) -> Iterator[TransformersLocal]:
    engine = opened(folder)
    yield engine
    engine.close()


@pytest.fixture
def cat(tmp_path: Path) -> Image:
    return picture(tmp_path / "cat.png", seed=1)


@pytest.fixture
def dog(tmp_path: Path) -> Image:
    return picture(tmp_path / "dog.png", seed=2)


def asked(*parts: Image | str) -> Message:
    return Message("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def done(events: Sequence[Event]) -> Done:
    assert isinstance(events[-1], Done)
    return events[-1]


def model_of(engine: TransformersLocal) -> Any:
    return decoder_of(engine).model


def decoder_of(engine: TransformersLocal) -> Decoder:
    assert engine._decoder is not None
    return engine._decoder


@contextmanager
def tower_calls(engine: TransformersLocal) -> Iterator[list[int]]:
    """How many pictures or tiles the vision tower has read, call by call."""
    calls: list[int] = []
    handle = model_of(engine).vit.register_forward_hook(lambda module, given, output: calls.append(len(output)))
    yield calls
    handle.remove()


def check_reuse(engine: TransformersLocal, messages: Sequence[Message], *, least: int, towers: int) -> None:
    """Here and in an engine that has read nothing yet: the same text, and the same scores behind the prompt."""
    with tower_calls(engine) as calls:
        scores = scores_behind(engine, messages)
        events = list(engine.stream(messages, GREEDY))
    fresh = transformers_local.TransformersLocal(engine._spec, checkpoint_of(engine), decoder_of(engine).eyes)
    expected_scores, expected = scores_behind(fresh, messages), list(fresh.stream(messages, GREEDY))
    fresh.close()
    assert text_of(events) == text_of(expected) and text_of(events)
    torch.testing.assert_close(scores, expected_scores, atol=2e-4, rtol=0)
    assert least <= done(events).usage.cached_tokens < done(events).usage.prompt_tokens
    assert len(calls) == towers


def checkpoint_of(engine: TransformersLocal) -> Any:
    decoder = decoder_of(engine)
    from models.backends.safetensors_folder import Checkpoint

    return Checkpoint(decoder.model, decoder.tokenizer, "", "", "", decoder.stop_ids, 2048)


def scores_behind(engine: TransformersLocal, messages: Sequence[Message]) -> torch.Tensor:
    """Read as a stream reads it, the cache used and kept."""
    decoder = decoder_of(engine)
    prompt = decoder.prompt(chatml.render(messages, decoder.dialect))
    prefix, gaze = decoder.caches.take(prompt.ids), Gaze(prompt, decoder.eyes, decoder.seen)
    scores = torch.empty(0)
    for at in range(len(prefix.ids), len(prompt), decoder.batch):
        for seen in gaze.wanted(at, at + decoder.batch):
            assert gaze.encode(seen, decoder.model, Cancel())
        scores = decoder.forward(prefix, prompt.ids[at : at + decoder.batch], gaze)
    decoder.caches.keep(prefix)
    return scores


def test_greedy_is_what_generate_writes(engine: TransformersLocal, folder: Path, cat: Image, dog: Image) -> None:
    """The original order: pictures, then the user's header; one begin token."""
    messages = [system("See."), asked(cat, dog, "What is this?"), assistant("A test."), user("And what is it?")]
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    pieces = chatml.as_text(chatml.render(messages, chatml.XCOMPOSER2)).split("<ImageHere><ImageHere>")
    before, after = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in pieces)
    ids = torch.tensor([before + [-1] * 2 * POSITIONS + after])
    pixels = [image_pixels(model.config, PIL.Image.open(image.path)) for image in (cat, dog)]
    with torch.inference_mode():
        embeds, mask = model.embed(ids, torch.cat([*model.encode_images(pixels)]))
        stops = tokenizer.convert_tokens_to_ids(["[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_146]", "</s>"])
        written = model.generate(
            inputs_embeds=embeds, image_mask=mask, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False,
            eos_token_id=[*stops, 2],
        )  # fmt: skip
    text = text_of(list(engine.stream(messages, GREEDY)))
    assert text and text == tokenizer.decode(written[0], skip_special_tokens=True).rstrip("\ufffd")


def test_a_conversation_about_a_picture_is_read_once(engine: TransformersLocal, cat: Image) -> None:
    """And the tower sees the picture once, also where something before it changes."""
    turns = [asked(cat, "What is this? " + LONG)]
    check_reuse(engine, turns, least=0, towers=1)
    turns += [assistant(text_of(list(engine.stream(turns, GREEDY)))), user("And what is it?")]
    check_reuse(engine, turns, least=engine.count(turns[:1]) - 4, towers=0)
    edited = [*turns[:1], assistant("No."), user("Rome?")]
    check_reuse(engine, edited, least=engine.count(turns[:1]) - 4, towers=0)
    other_text = [asked(cat, "It is a test.")]
    check_reuse(engine, other_text, least=POSITIONS, towers=0)
    before_it = [system("Be small."), *turns]
    check_reuse(engine, before_it, least=1, towers=0)


def test_a_picture_in_a_later_turn(engine: TransformersLocal, cat: Image, dog: Image) -> None:
    turns = [user(LONG), assistant("Rome."), asked(cat, "And this?")]
    list(engine.stream(turns[:1], GREEDY))
    check_reuse(engine, turns, least=engine.count(turns[:1]) - 4, towers=1)
    check_reuse(engine, [*turns, assistant("x"), asked(dog, "Or this?")], least=engine.count(turns) - 4, towers=1)


def test_another_picture_under_the_same_name_is_another_picture(engine: TransformersLocal, tmp_path: Path) -> None:
    before = picture(tmp_path / "same.png", seed=1)
    first = scores_behind(engine, [asked(before, "What?")])
    after = picture(tmp_path / "same.png", seed=2)
    assert after.path == before.path and after != before
    check_reuse(engine, [asked(after, "What?")], least=1, towers=1)
    assert not torch.allclose(first, scores_behind(engine, [asked(after, "What?")]), atol=1e-2)


def test_the_same_picture_under_another_name_is_the_same(engine: TransformersLocal, cat: Image, tmp_path: Path) -> None:
    list(engine.stream([asked(cat, "What?")], GREEDY))
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(cat.path).read_bytes())
    check_reuse(engine, [asked(image_of(copy), "What?")], least=POSITIONS, towers=0)


def test_two_pictures_swapped(engine: TransformersLocal, cat: Image, dog: Image) -> None:
    first = scores_behind(engine, [asked(cat, dog, "Which?")])
    check_reuse(engine, [asked(dog, cat, "Which?")], least=1, towers=0)
    assert not torch.allclose(first, scores_behind(engine, [asked(dog, cat, "Which?")]), atol=1e-2)
    check_reuse(engine, [asked(dog, cat, "Which one?")], least=2 * POSITIONS, towers=0)


def test_what_was_seen_is_kept_as_long_as_there_is_room() -> None:
    rows = [torch.full((4, 8), float(number)) for number in range(3)]
    seen = Seen(2 * rows[0].nbytes)
    seen.keep(0, rows[0])
    seen.keep(1, rows[1])
    assert seen[0] is rows[0]
    seen.keep(2, rows[2])
    kept = [seen[number] for number in range(3)]
    assert [one is not None for one in kept] == [True, False, True]  # 1 was the one used longest ago
    assert kept[0] is rows[0] and kept[2] is rows[2]
    seen.keep(3, torch.zeros(9, 8))  # more than the limit
    assert seen[3] is None and seen[2] is rows[2]


def test_nothing_is_kept_where_that_is_asked_for(folder: Path, cat: Image) -> None:
    engine = opened(folder, options={"prefix_bytes": 0})
    with tower_calls(engine) as calls:
        usages = [done(list(engine.stream([asked(cat, "What?")], GREEDY))).usage for _ in range(2)]
    engine.close()
    assert [usage.cached_tokens for usage in usages] == [0, 0] and len(calls) == 2


def test_pictures_across_batches(engine: TransformersLocal, cat: Image, dog: Image) -> None:
    """Runs that begin and end anywhere in a batch, and several in one."""
    decoder = decoder_of(engine)
    for length in (PREFILL_BATCH - POSITIONS, PREFILL_BATCH - 20, 7, 2 * PREFILL_BATCH - 2):
        prompt = decoder.prompt([Plain("x" * length), ImageSlot(cat), ImageSlot(dog), Plain("yz"), ImageSlot(cat), Plain(".")])
        whole = batched(decoder, prompt, len(prompt))
        torch.testing.assert_close(batched(decoder, prompt, PREFILL_BATCH), whole, atol=2e-4, rtol=0)
        torch.testing.assert_close(batched(decoder, prompt, 13), whole, atol=2e-4, rtol=0)


def batched(decoder: Decoder, prompt: Prompt, size: int) -> torch.Tensor:
    from transformers import DynamicCache

    prefix, gaze = Prefix([], DynamicCache(config=decoder.model.config)), Gaze(prompt, decoder.eyes)
    scores = torch.empty(0)
    for at in range(0, len(prompt), size):
        for seen in gaze.wanted(at, at + size):
            assert gaze.encode(seen, decoder.model, Cancel())
        scores = decoder.forward(prefix, prompt.ids[at : at + size], gaze)
        assert all(near.end > at + size for near in gaze._rows)  # what was read is given back
    return scores


def test_count_runs_no_tower_and_is_what_is_used(engine: TransformersLocal, cat: Image) -> None:
    with tower_calls(engine) as calls:
        count = engine.count([asked(cat, "What is this?")])
        assert not calls
        assert done(list(engine.stream([asked(cat, "What is this?")], GREEDY))).usage.prompt_tokens == count
    assert count == engine.count([asked("What is this?")]) + POSITIONS and len(calls) == 1


def test_settings_that_look_at_the_prompt_do_not_look_at_pictures(engine: TransformersLocal, cat: Image) -> None:
    sampling = Sampling(temperature=0, max_tokens=8, repetition_penalty=1.5)
    assert text_of(list(engine.stream([asked(cat, "What?")], sampling)))
    assert text_of(list(engine.stream([asked(cat, "A or B?")], Sampling(temperature=0, one_of=("A", "B"))))) in ("A", "B")
    begun = [asked(cat, "What?"), assistant("It is ")]
    assert text_of(list(engine.stream(begun, sampling)))


@pytest.mark.parametrize("looks", [0, 1, 3, 20, 30])
def test_stop_before_and_inside_the_tower(engine: TransformersLocal, cat: Image, looks: int) -> None:
    with tower_calls(engine) as calls:
        events = list(engine.stream([asked(cat, "What?")], GREEDY, cancel=CancelAfter(looks)))
    assert (done(events).reason, done(events).usage.output_tokens) == ("cancelled", 0) and not calls
    assert [event.done for event in events if isinstance(event, PromptProgress)] == [0]
    check_reuse(engine, [asked(cat, "What?")], least=0, towers=1)
    assert not any(module._forward_pre_hooks for module in model_of(engine).modules())


def test_stop_in_the_middle_of_a_picture(engine: TransformersLocal, cat: Image) -> None:
    """What was read is reused, and what was seen: the rest of the picture's positions is read from that."""
    text = "x" * (PREFILL_BATCH - 20)
    dialect = chatml.XCOMPOSER2_WRITING.name
    other = transformers_local.TransformersLocal(
        dataclasses.replace(engine._spec, dialect=dialect), checkpoint_of(engine), decoder_of(engine).eyes
    )
    messages = [asked(text, cat, "What?")]
    prompt, looks = decoder_of(other).prompt(other._render(messages, ())), CancelAfter(1000)
    assert prompt.pictures[0].begin < PREFILL_BATCH < prompt.pictures[0].end
    assert Gaze(prompt, decoder_of(other).eyes).encode(prompt.pictures[0], model_of(other), looks)
    events = list(other.stream(messages, GREEDY, cancel=CancelAfter(1000 - looks._looks + 1)))
    assert [event.done for event in events if isinstance(event, PromptProgress)] == [0, PREFILL_BATCH]
    assert (done(events).reason, done(events).usage.output_tokens) == ("cancelled", 0)
    check_reuse(other, messages, least=PREFILL_BATCH, towers=0)


class TestTiles:
    def test_how_a_picture_is_cut_up_is_part_of_what_it_is(self, tmp_path: Path) -> None:
        """A second picture allows the first fewer tiles, so its positions are others."""
        engine = opened(xcomposer2_folder(tmp_path / "model", tiled=True), dialect="xcomposer2d5")
        wide, other = picture(tmp_path / "a.png", size=(200, 50)), picture(tmp_path / "b.png", seed=1, size=(100, 50))
        one = [asked(wide, "What?")]
        check_reuse(engine, one, least=0, towers=1)
        alone = engine.count(one)
        two = [*one, assistant("x"), asked(other, "And this?")]
        assert engine.count(two) < alone + engine.count([asked(other, "And this?")])
        check_reuse(engine, two, least=1, towers=2)
        check_reuse(engine, [*two, assistant("y"), user("Which?")], least=engine.count(two) - 4, towers=0)
        engine.close()


def test_what_a_picture_costs_is_known_before_it_is_sent(tmp_path: Path) -> None:
    engine = opened(xcomposer2_folder(tmp_path / "model", tiled=True), dialect="xcomposer2d5")
    assert isinstance(engine, SeesPictures)
    wide, other = picture(tmp_path / "a.png", size=(200, 50)), picture(tmp_path / "b.png", seed=1, size=(100, 50))
    without = engine.count([asked("What?")])
    for images in ([wide], [wide, other]):
        for detail in DETAILS:
            counted = engine.count([asked(*(dataclasses.replace(image, detail=detail) for image in images), "What?")]) - without
            told = sum(engine.picture_tokens(image.width, image.height, pictures=len(images), detail=detail) for image in images)
            around = counted - told  # the list that names several pictures
            assert around == 0 if len(images) == 1 else 0 < around < 30
    alone, crowd = (engine.picture_tokens(2000, 500, pictures=pictures) for pictures in (1, 2))
    assert engine.picture_tokens(2000, 500, detail="low") < crowd < alone
    assert engine.picture_tokens(2000, 500, pictures=2, detail="high") == alone
    engine.close()


def test_another_detail_is_another_picture(tmp_path: Path) -> None:
    engine = opened(xcomposer2_folder(tmp_path / "model", tiled=True), dialect="xcomposer2d5")
    wide = picture(tmp_path / "a.png", size=(200, 50))
    for detail in ("high", "low"):
        check_reuse(engine, [asked(dataclasses.replace(wide, detail=detail), "What?")], least=0, towers=1)
    engine.close()


def expanded(family: str, made: Any, config: Any) -> str:
    """What transformers' processor for the family writes for one picture."""
    token = IMAGE_TOKEN[family]
    if family == "smolvlm":
        rows, columns = made["rows"][0][0], made["cols"][0][0]
        return str(get_image_prompt_string(rows, columns, 4, "<fake_token_around_image>", token, "<global-img>"))
    if family == "internvl":
        return f"<img>{token * 4 * len(made['pixel_values'])}</img>"
    return token * 16


class TestNative:
    @pytest.fixture(scope="class", params=["smolvlm", "internvl", "llava"])
    def native(self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Any]]:
        folder = native_folder(tmp_path_factory.mktemp(request.param) / "model", request.param)
        spec = local.spec_of_path(folder)
        assert spec.dialect == "template" and "image" in spec.capabilities
        engine = transformers_local.load(spec, folder, on_progress=lambda progress: None, cancel=Cancel())
        yield request.param, folder, engine
        engine.close()

    @pytest.mark.parametrize("size", [(70, 30), (20, 20), (33, 95)])
    def test_greedy_is_what_generate_writes(self, native: tuple[str, Path, Any], tmp_path: Path, size: tuple[int, int]) -> None:
        family, folder, engine = native
        image = picture(tmp_path / "cat.png", seed=5, size=size)
        tokenizer, model = load_tokenizer(folder), load_model(folder)
        how = {"smolvlm": {"return_row_col_info": True}, "internvl": {"crop_to_patches": True}}.get(family, {})
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        made = processor(images=[PIL.Image.open(image.path)], return_tensors="pt", **how)
        ids = tokenizer(f"user:{expanded(family, made, model.config)}\nWhat is this?<|im_end|>assistant:", return_tensors="pt")["input_ids"]
        pixels = {name: made[name] for name in ("pixel_values", "pixel_attention_mask") if name in made}
        with torch.inference_mode():
            written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **pixels, max_new_tokens=16, do_sample=False)
        expected = tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).rstrip("\ufffd")
        messages = [asked(image, "What is this?")]
        assert engine.count(messages) == ids.shape[1]
        assert text_of(list(engine.stream(messages, GREEDY))) == expected != ""

    def test_turn_two_reuses_the_picture(self, native: tuple[str, Path, Any], tmp_path: Path) -> None:
        _, _, engine = native
        image = picture(tmp_path / "cat.png", seed=6, size=(64, 40))
        first = [asked(image, "What is this?")]
        text = text_of(list(engine.stream(first, GREEDY)))
        events = list(engine.stream([*first, assistant(text), user("And?")], GREEDY))
        assert done(events).usage.cached_tokens >= engine.count(first) - 2 and text_of(events)

    def test_low_detail_is_one_piece_with_rows_of_its_own(self, native: tuple[str, Path, Any], tmp_path: Path) -> None:
        family, _, engine = native
        image = picture(tmp_path / "cat.png", seed=7, size=(120, 40))
        near, far = ([asked(dataclasses.replace(image, detail=detail), "What?")] for detail in ("high", "low"))
        costs = {detail: engine.picture_tokens(120, 40, detail=detail) for detail in DETAILS}
        assert costs["auto"] == costs["high"] and (costs["low"] < costs["high"]) is (family != "llava")
        assert engine.count(near) - engine.count(far) == costs["high"] - costs["low"]
        assert text_of(list(engine.stream(near, GREEDY))) and text_of(list(engine.stream(far, GREEDY)))
        cached = done(list(engine.stream(far, GREEDY))).usage.cached_tokens
        assert cached >= engine.count(far) - 2

    def test_a_typed_picture_token_is_text(self, native: tuple[str, Path, Any]) -> None:
        family, _, engine = native
        prompt = decoder_of(engine).prompt(engine._render([user(IMAGE_TOKEN[family])], ()))
        assert decoder_of(engine).tokenizer.control(IMAGE_TOKEN[family]) not in prompt.ids and not prompt.pictures


def test_families_are_those_that_a_path_is_said_to_see_with() -> None:
    assert FAMILIES.keys() | QWEN_FAMILIES == local.SEEING_FAMILIES


def test_models_with_other_eyes_say_so(cat: Image) -> None:
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "num_key_value_heads": 1, "vocab_size": 400, "head_dim": 8}
    vision = {**sizes, "image_size": 28, "patch_size": 14}
    model = Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4))
    tokenizer = ChatTokenizer(tiny_tokenizer().backend_tokenizer)
    assert eyes_of(model, tokenizer, Path()) is None
    with pytest.raises(BadRequest, match="gemma3"):
        prompt_of([ImageSlot(cat)], tokenizer, None, blind(model))


def test_a_model_that_reads_text_only_refuses_before_it_reads(tmp_path: Path) -> None:
    engine = opened(tiny_llama_folder(tmp_path / "llama"), dialect="chatml")
    gone = Image("gone.png", "0", 1, 1)
    for ask in (lambda: list(engine.stream([asked(gone, "x")])), lambda: engine.count([asked(gone, "x")])):
        with pytest.raises(BadRequest, match="reads text only"):
            ask()
    with pytest.raises(BadRequest, match="reads text only"):
        engine.picture_tokens(10, 10)
    engine.close()


def test_only_task_loras_that_are_there_can_be_asked_for(tmp_path: Path, folder: Path, cat: Image) -> None:
    with pytest.raises(BadRequest, match="infer_mode 'write'"):
        opened(folder, options={"infer_mode": "write"})
    with pytest.raises(BadRequest, match="infer_mode"):
        opened(tiny_llama_folder(tmp_path / "llama"), dialect="chatml", options={"infer_mode": "base"})
    writer = opened(xcomposer2_folder(tmp_path / "writer", task_ranks={"sft": 4, "dpo": 4}), options={"infer_mode": "write"})
    plain = opened(tmp_path / "writer")
    assert not torch.allclose(scores_behind(writer, [user("hi")]), scores_behind(plain, [user("hi")]), atol=1e-3)
    writer.close()
    plain.close()


class TestFiles:
    def test_what_is_gone_changed_or_no_picture(self, engine: TransformersLocal, tmp_path: Path) -> None:
        image = picture(tmp_path / "cat.png")
        check_refused(engine, dataclasses.replace(image, path=str(tmp_path / "gone.png")), "'gone.png' is not there")
        check_refused(engine, dataclasses.replace(image, path="a\0b"), "is not there")
        check_refused(engine, dataclasses.replace(image, sha256="0" * 64), "'cat.png' has changed")
        Path(image.path).write_bytes(b"GIF89a, says who?")
        check_refused(engine, image, "has changed")
        path = tmp_path / "text.png"
        path.write_text("no picture", "utf-8")
        check_refused(engine, with_hash(path), "'text.png' is no picture")
        (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
        check_refused(engine, with_hash(tmp_path / "a.eps"), "is no picture")

    def test_one_that_breaks_off(self, engine: TransformersLocal, tmp_path: Path) -> None:
        image = picture(tmp_path / "cat.jpg", size=(400, 300))
        Path(image.path).write_bytes(Path(image.path).read_bytes()[:700])
        with pytest.raises(BadRequest, match=r"'cat\.jpg' is broken"):
            list(engine.stream([asked(with_hash(Path(image.path)), "x")], GREEDY))
        assert text_of(list(engine.stream([user("x")], GREEDY)))

    def test_a_huge_one(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.png"
        PIL.Image.new("1", (30_000, 3_000)).save(path)
        with pytest.raises(BadRequest, match=r"huge\.png"):
            open_picture(with_hash(path))

    @pytest.mark.parametrize(("orientation", "size"), [(1, (40, 30)), (3, (40, 30)), (6, (30, 40)), (8, (30, 40))])
    def test_it_is_seen_as_the_camera_was_held(self, tmp_path: Path, orientation: int, size: tuple[int, int]) -> None:
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        image = picture(tmp_path / "photo.jpg", exif=exif)
        assert size_of(open_picture(image)) == size == upright(open_picture(image), image).size

    def test_other_modes_become_rgb(self, tmp_path: Path) -> None:
        for mode in ("RGBA", "P", "L", "1", "CMYK", "I;16"):
            path = tmp_path / f"{mode.replace(';', '')}.tiff"
            PIL.Image.new(mode, (5, 4)).save(path)
            assert upright(open_picture(with_hash(path)), with_hash(path)).mode == "RGB"

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
    def test_a_broken_orientation_tag_is_none(self, engine: TransformersLocal, tmp_path: Path, suffix: str) -> None:
        image = picture(tmp_path / f"photo.{suffix}", exif=b"Exif\0\0neither II nor MM")
        assert size_of(open_picture(image)) == (40, 30) == upright(open_picture(image), image).size
        assert engine.count([asked(image, "x")]) > POSITIONS

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
    def test_where_a_picture_is_clear_it_is_seen_on_white_as_on_the_page(self, tmp_path: Path, mode: str) -> None:
        path = tmp_path / "logo.png"
        made = PIL.Image.new(mode, (5, 4))  # black, and clear all over
        made.putpixel((1, 1), {"RGBA": (9, 0, 0, 255), "LA": (9, 255)}.get(mode, 1))
        made.save(path, **({} if "A" in mode else {"transparency": 0}))
        seen = upright(open_picture(with_hash(path)), with_hash(path))
        assert seen.mode == "RGB" and seen.getpixel((0, 0)) == (255, 255, 255) != seen.getpixel((1, 1))


def with_hash(path: Path) -> Image:
    import hashlib

    return Image(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), 1, 1)


def check_refused(engine: TransformersLocal, image: Image, says: str) -> None:
    for ask in (lambda: list(engine.stream([asked(image, "x")])), lambda: engine.count([asked(image, "x")])):
        with pytest.raises(BadRequest, match=says):
            ask()


class TwoPositions:
    """Eyes that see every picture as two ones."""

    token = ""

    def layout(self, width: int, height: int, pictures: int, detail: Detail) -> Layout:
        return Layout((7, -1, 8, -1, -1), detail=str(pictures))

    def encode(self, picture: PIL.Image.Image, pictures: int, detail: Detail) -> torch.Tensor:
        return torch.ones(2, 4)

    def inputs(self, ids: torch.Tensor, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"inputs_embeds": rows}


def test_a_model_that_sees_another_number_of_positions_is_refused(cat: Image) -> None:
    tokenizer = ChatTokenizer(tiny_tokenizer().backend_tokenizer)
    prompt = prompt_of([Plain("x"), ImageSlot(cat)], tokenizer, TwoPositions(), BadRequest("no"))
    assert [token_id < 0 for token_id in prompt.ids] == [False, False, True, False, True, True] and len(prompt.text_ids) == 3
    gaze = Gaze(prompt, TwoPositions())
    assert gaze.wanted(0, 2) == [] and len(gaze.wanted(2, 3)) == 1 and gaze.rows(0, 2) is None
    with pytest.raises(BadRequest, match="2 positions in a picture laid out as 3"):
        gaze.encode(prompt.pictures[0], torch.nn.Linear(1, 1), Cancel())
