"""InternLM-XComposer2 of many sizes against the formulas written out by hand, and against itself in other circumstances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import DynamicCache

from models.architectures import load_model
from models.architectures.plora import runs_of
from models.architectures.tiles import image_tokens
from models.architectures.xcomposer2_config import TOWER
from tests.tiny_xcomposer2 import Reference, Sizes, folder, weights

SIZES = {
    "rank 8 with alpha 16": Sizes(),
    "one key head, one wide head of vision": Sizes(hidden=40, heads=5, key_heads=1, inner=64, layers=3, vision=64, patch=3, img_size=18),
    "all key heads, biases": Sizes(hidden=32, heads=4, key_heads=4, bias=True, vision_layers=1, theta=1e6, grid=4, img_size=16),
    "resized table": Sizes(grid=24, img_size=40),
    "shrunk table": Sizes(grid=24, img_size=20),
    "tiles": Sizes(tiled=True, grid=4, img_size=16),
    "tiles of the original table": Sizes(tiled=True, grid=24, img_size=12, patch=2, vision=64),
    "task LoRAs": Sizes(task_ranks={"sft": 6, "dpo": 4, "web": 10}),
}
ROW = [0, 5, -1, -1, -1, 7, 8, -1, -1, 9, 10, 11, 12]  # negative: image positions


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_model(folder(tmp_path_factory.mktemp("model") / "m", Sizes()))


def prompt(model: Any, *rows: list[int], seed: int = 3) -> dict[str, Tensor]:
    ids = torch.tensor(rows)
    images = torch.randn(int((ids < 0).sum()), model.config.hidden_size, generator=torch.Generator().manual_seed(seed))
    embeds, mask = model.embed(ids, images)
    return {"inputs_embeds": embeds, "image_mask": mask}


def picture(*size: int, seed: int = 1) -> Tensor:
    return torch.randn(3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("seed", [0, 1])
def test_logits_and_images_equal_the_formulas(name: str, seed: int, tmp_path: Path) -> None:
    sizes = SIZES[name]
    tensors = weights(sizes, seed)
    model: Any = load_model(folder(tmp_path / "m", sizes, tensors))
    reference = Reference(sizes, tensors)
    size = sizes.img_size
    for shape in [(size, size), (size, 3 * size), (2 * size, size)] if sizes.tiled else [(size, size)]:
        (embeds,) = model.encode_images([picture(*shape, seed=seed)])
        torch.testing.assert_close(embeds.double(), reference.embeds(picture(*shape, seed=seed)), atol=1e-4, rtol=0)
    given = prompt(model, ROW, seed=seed)
    mask = [number < 0 for number in ROW]
    for infer_mode, tasks in {"base": (), "write": ("sft", "dpo"), "web": ("web",)}.items():
        if set(tasks) <= set(sizes.task_ranks):
            logits = model(**given, infer_mode=infer_mode).logits[0]
            torch.testing.assert_close(logits.double(), reference.logits(given["inputs_embeds"][0], mask, tasks), atol=1e-4, rtol=0)


def test_several_square_pictures_at_once(model: Any) -> None:
    pictures = torch.stack([picture(24, 24, seed=seed) for seed in range(11)])
    together = model.encode_images(pictures)
    assert together.shape == (11, image_tokens(model.config, 5, 5), 48)
    for one, expected in zip(pictures, together, strict=True):
        torch.testing.assert_close(model.encode_images(one[None])[0], expected, atol=1e-5, rtol=0)


def test_a_mask_without_pictures_adds_nothing(model: Any) -> None:
    ids = torch.tensor([[4, 5, 6]])
    assert torch.equal(model(ids).logits, model(ids, image_mask=torch.zeros(1, 3, dtype=torch.bool)).logits)
    assert not torch.allclose(model(ids).logits, model(ids, image_mask=torch.tensor([[False, True, False]])).logits)


def test_only_picture_rows_are_computed(tmp_path: Path) -> None:
    """And none for generated tokens, though the ids of a picture's neighbours may come again."""
    model: Any = load_model(folder(tmp_path / "m", Sizes()))
    seen: list[int] = []
    for layer in model.model.layers:
        layer.feed_forward.w2.Plora_A.register_forward_hook(lambda module, given, output: seen.append(len(given[0])))
    model.generate(**prompt(model, ROW), max_new_tokens=5, do_sample=False, eos_token_id=None)
    assert seen == [3, 2] * 2  # two pictures, two layers


@pytest.mark.parametrize("length", [20, 40])
def test_dynamic_positions_beyond_the_limit(length: int, tmp_path: Path) -> None:
    sizes, factor, limit = Sizes(positions=24), 2.0, 24
    tensors = weights(sizes)
    model: Any = load_model(folder(tmp_path / "m", sizes, tensors, rope_scaling={"type": "dynamic", "factor": factor}))
    row = [5, -1, -1, *range(6, 3 + length)]
    given = prompt(model, row)
    stretch = max(1.0, factor * length / limit - (factor - 1))
    wide = replace(sizes, theta=sizes.theta * stretch ** (sizes.head / (sizes.head - 2)))
    expected = Reference(wide, tensors).logits(given["inputs_embeds"][0], [number < 0 for number in row])
    torch.testing.assert_close(model(**given).logits[0].double(), expected, atol=1e-4, rtol=0)


def test_left_padded_batch_equals_single(model: Any) -> None:
    rows = [ROW, [-1, -1, 3], [4, 5, 6, -1, 8], [9, 10]]
    images = torch.randn(sum(number < 0 for row in rows for number in row), 48)
    padded = torch.tensor([[2] * (len(ROW) - len(row)) + row for row in rows])
    embeds, mask = model.embed(padded, images)
    attention = torch.tensor([[0] * (len(ROW) - len(row)) + [1] * len(row) for row in rows])
    batch = {"inputs_embeds": embeds, "image_mask": mask, "attention_mask": attention}
    logits, answers = model(**batch).logits, model.generate(**batch, max_new_tokens=6, do_sample=False, eos_token_id=None)
    for number, row in enumerate(rows):
        single = {"inputs_embeds": embeds[number : number + 1, -len(row) :], "image_mask": mask[number : number + 1, -len(row) :]}
        torch.testing.assert_close(logits[number, -len(row) :], model(**single).logits[0], atol=1e-4, rtol=0)
        alone = model.generate(**single, max_new_tokens=6, do_sample=False, eos_token_id=None)
        assert torch.equal(answers[number], alone[0])


@pytest.mark.parametrize("piece", [1, 2, 3, 5])
def test_in_pieces_over_a_cache_equals_whole(model: Any, piece: int) -> None:
    given, cache, pieces = prompt(model, ROW), DynamicCache(config=model.config), []
    for start in range(0, len(ROW), piece):
        part = {name: tensor[:, start : start + piece] for name, tensor in given.items()}
        pieces.append(model(**part, past_key_values=cache, use_cache=True).logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(**given).logits, atol=1e-4, rtol=0)


def test_in_pieces_a_padded_batch_too(model: Any) -> None:
    given, cache = prompt(model, [2, 2, -1, -1, 3, 4], [5, 6, 7, -1, -1, 8]), DynamicCache(config=model.config)
    attention = torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])
    whole = model(**given, attention_mask=attention).logits
    for start in (0, 3):
        part = {name: tensor[:, start : start + 3] for name, tensor in given.items()}
        last = model(**part, attention_mask=attention[:, : start + 3], past_key_values=cache, use_cache=True).logits
    torch.testing.assert_close(last, whole[:, 3:], atol=1e-4, rtol=0)


def test_a_conversation_goes_on_over_its_cache(model: Any) -> None:
    """`generate` is given the whole prompt and a cache of its beginning, in the middle of a picture."""
    given, cache = prompt(model, ROW), DynamicCache(config=model.config)
    model(**{name: tensor[:, :4] for name, tensor in given.items()}, past_key_values=cache, use_cache=True)
    fresh = model.generate(**given, max_new_tokens=6, do_sample=False, eos_token_id=None)
    assert torch.equal(model.generate(**given, past_key_values=cache, max_new_tokens=6, do_sample=False, eos_token_id=None), fresh)


def test_greedy_equals_step_by_step(model: Any) -> None:
    given = prompt(model, ROW)
    embeds, mask, wanted = given["inputs_embeds"], given["image_mask"], []
    for _ in range(8):
        token = model(inputs_embeds=embeds, image_mask=mask).logits[:, -1].argmax(-1)
        wanted.append(int(token))
        embeds = torch.cat([embeds, model.embed(token[None])[0]], dim=1)
        mask = torch.cat([mask, torch.zeros(1, 1, dtype=torch.bool)], dim=1)
    assert model.generate(**given, max_new_tokens=8, do_sample=False, eos_token_id=None).tolist() == [wanted]
    assert model.generate(**given, max_new_tokens=8, do_sample=False, eos_token_id=None, use_cache=False).tolist() == [wanted]


def test_a_task_holds_for_the_whole_answer(tmp_path: Path) -> None:
    model: Any = load_model(folder(tmp_path / "m", SIZES["task LoRAs"]))
    given, answers = prompt(model, ROW), {}
    for infer_mode in ("base", "write", "web"):
        answer = model.generate(**given, infer_mode=infer_mode, max_new_tokens=6, do_sample=False, eos_token_id=None)
        embeds = torch.cat([given["inputs_embeds"], model.embed(answer[:, :-1])[0]], dim=1)
        mask = torch.cat([given["image_mask"], torch.zeros(1, 5, dtype=torch.bool)], dim=1)
        again = model(inputs_embeds=embeds, image_mask=mask, infer_mode=infer_mode).logits[:, -6:].argmax(-1)
        assert torch.equal(answer, again)
        answers[infer_mode] = tuple(answer[0].tolist())
    assert len(set(answers.values())) == 3


def test_beams_and_samples_of_a_batch(model: Any) -> None:
    """The mask is repeated with the prompt: each row's answer is that of the row alone."""
    rows = ROW, [*ROW[:3], 20, *ROW[4:]]
    given = prompt(model, *rows)
    beams = model.generate(
        **given, attention_mask=torch.ones(2, len(ROW)), num_beams=3, max_new_tokens=5, do_sample=False, eos_token_id=None
    )
    for number in range(2):
        single = {name: tensor[number : number + 1] for name, tensor in given.items()}
        alone = model.generate(**single, num_beams=3, max_new_tokens=5, do_sample=False, eos_token_id=None)
        assert torch.equal(beams[number], alone[0])
    torch.manual_seed(0)
    one = {name: tensor[:1] for name, tensor in given.items()}
    samples = model.generate(**one, do_sample=True, top_p=0.9, top_k=20, num_return_sequences=4, max_new_tokens=5, eos_token_id=None)
    assert samples.shape == (4, 5)
    assert len({tuple(sample) for sample in samples.tolist()}) > 1


def test_only_the_last_scores(model: Any) -> None:
    given = prompt(model, ROW)
    last = model(**given, logits_to_keep=1).logits
    assert last.shape == (1, 1, 90)
    torch.testing.assert_close(last, model(**given).logits[:, -1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("sizes", [SIZES["rank 8 with alpha 16"], SIZES["tiles"], SIZES["task LoRAs"]], ids=["square", "tiles", "tasks"])
def test_saved_and_loaded_again(sizes: Sizes, tmp_path: Path) -> None:
    tensors = weights(sizes)
    first: Any = load_model(folder(tmp_path / "first", sizes, tensors))
    first.save_pretrained(tmp_path / "second")
    second: Any = load_model(tmp_path / "second")
    saved = load_file(tmp_path / "second/model.safetensors")
    assert saved.keys() == tensors.keys()
    assert all(torch.equal(saved[name], tensors[name]) for name in tensors)
    assert second.config.plora_alpha == first.config.plora_alpha == sizes.alphas
    given, size = prompt(first, ROW), sizes.img_size
    assert torch.equal(first(**given).logits, second(**given).logits)
    assert torch.equal(first.encode_images([picture(size, size)])[0], second.encode_images([picture(size, size)])[0])


def test_a_new_model_is_saved_under_the_published_names(tmp_path: Path) -> None:
    first: Any = load_model(folder(tmp_path / "first", Sizes()))
    type(first)(first.config).save_pretrained(tmp_path / "new")
    assert load_file(tmp_path / "new/model.safetensors").keys() == weights(Sizes()).keys()
    load_model(tmp_path / "new")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("tiled", [False, True])
def test_half_precision_agrees(dtype: torch.dtype, tiled: bool, tmp_path: Path) -> None:
    sizes = SIZES["tiles"] if tiled else Sizes()
    path = folder(tmp_path / "m", sizes, weights(sizes, spread=1.0))  # wider ones make the softmax a switch
    full, half = load_model(path), load_model(path, dtype=dtype)
    given, pictures = prompt(full, ROW), [picture(sizes.img_size, sizes.img_size)]
    pairs = [
        (full.encode_images(pictures)[0], half.encode_images(pictures)[0]),
        (full(**given).logits, half(inputs_embeds=given["inputs_embeds"].to(dtype), image_mask=given["image_mask"]).logits),
    ]
    for expected, found in pairs:
        assert found.dtype is dtype
        assert torch.cosine_similarity(expected.flatten(), found.float().flatten(), dim=0) > 0.999
    half.generate(inputs_embeds=given["inputs_embeds"].to(dtype), image_mask=given["image_mask"], max_new_tokens=3, eos_token_id=None)


def test_layers_that_stay_on_the_disk(model: Any, tmp_path: Path) -> None:
    here = ("model.tok_embeddings", "model.layers.0", "model.norm", "model.rotary_emb", f"{TOWER}.embeddings")
    there = ("model.layers.1", "output", "vision_proj", *(f"{TOWER}.{part}" for part in ("pre_layrnorm", "encoder", "post_layernorm")))
    places = dict.fromkeys(here, "cpu") | dict.fromkeys(there, "disk")
    path = folder(tmp_path / "m", Sizes())
    placed: Any = load_model(path, device_map=places, offload_folder=tmp_path / "off")
    assert placed.model.layers[1].attention.wqkv.base.weight.is_meta
    given, image = prompt(model, ROW), picture(24, 24)[None]
    assert torch.equal(placed(**given).logits, model(**given).logits)
    assert torch.equal(placed.encode_images(image), model.encode_images(image))


def test_tied_embeddings(tmp_path: Path) -> None:
    tensors = weights(Sizes())
    tensors["output.weight"] = tensors["model.tok_embeddings.weight"].clone()
    plain: Any = load_model(folder(tmp_path / "plain", Sizes(), tensors))
    del tensors["output.weight"]
    tied: Any = load_model(folder(tmp_path / "tied", Sizes(), tensors, tie_word_embeddings=True))
    assert tied.output.weight is tied.model.tok_embeddings.weight
    given = prompt(plain, ROW)
    assert torch.equal(tied(**given).logits, plain(**given).logits)
    tied.save_pretrained(tmp_path / "again")
    assert torch.equal(load_model(tmp_path / "again")(**given).logits, plain(**given).logits)


def test_runs_of_a_mask() -> None:
    mask = torch.tensor([[0, 1, 1, 0, 1], [1, 0, 0, 0, 1]], dtype=torch.bool)
    assert runs_of(mask) == ((1, 3), (4, 6), (9, 10))
    assert runs_of(~torch.zeros(2, 3, dtype=torch.bool)) == ((0, 6),)
    assert runs_of(torch.zeros(2, 3, dtype=torch.bool)) == ()


def test_row_ends_count_in_the_embeddings(tmp_path: Path) -> None:
    """A model that ignored the separators would pass with zeros in their place."""
    sizes = SIZES["tiles"]
    tensors = weights(sizes)
    flat = {name: torch.zeros_like(tensor) if name.endswith("_GN") else tensor for name, tensor in tensors.items()}
    one: Any = load_model(folder(tmp_path / "one", sizes, tensors))
    other: Any = load_model(folder(tmp_path / "other", sizes, flat))
    image = picture(sizes.img_size, 2 * sizes.img_size)
    differ = (one.encode_images([image])[0] != other.encode_images([image])[0]).any(-1)
    side = sizes.img_size // sizes.patch // 2
    ends = [side + line * (side + 1) for line in range(side)]
    between = side * (side + 1)
    ends += [between, *(between + 2 * side + 1 + line * (2 * side + 1) for line in range(side))]
    assert differ.nonzero().flatten().tolist() == ends


class TestRefused:
    def test_too_few_or_too_many_embeddings(self, model: Any) -> None:
        with pytest.raises(ValueError, match="5 image positions and 4 image embeddings"):
            model.embed(torch.tensor([ROW]), torch.zeros(4, 48))
        with pytest.raises(ValueError, match="5 image positions and 0 image embeddings"):
            model.embed(torch.tensor([ROW]))

    def test_a_mask_of_another_length(self, model: Any) -> None:
        with pytest.raises(ValueError, match="image_mask"):
            model(torch.tensor([[1, 2, 3]]), image_mask=torch.tensor([[True, False]]))

    def test_both_or_neither_input(self, model: Any) -> None:
        for given in ({}, {"input_ids": torch.tensor([[1]]), "inputs_embeds": torch.zeros(1, 1, 48)}):
            with pytest.raises(ValueError, match="either"):
                model(**given)

    @pytest.mark.parametrize("infer_mode", ["write", "web", "nonsense"])
    def test_tasks_that_are_not_there(self, model: Any, infer_mode: str) -> None:
        with pytest.raises(ValueError, match=infer_mode):
            model(torch.tensor([[1]]), infer_mode=infer_mode)

    def test_pictures_of_another_size(self, model: Any, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="24 x 24"):
            model.encode_images(torch.zeros(1, 3, 24, 28))
        tiled: Any = load_model(folder(tmp_path / "m", SIZES["tiles"]))
        for size in [(16, 24), (8, 8), (0, 16)]:
            with pytest.raises(ValueError, match="whole number of tiles of 16"):
                tiled.encode_images([torch.zeros(3, *size)])
