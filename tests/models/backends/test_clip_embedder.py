"""Image-text models against transformers' own answers, through the registry as pages use them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import transformers as t
from safetensors.torch import load_file, save_file

from models.backends import clip_embedder
from models.backends.clip_embedder import IMAGES_AT_ONCE, TEXTS_AT_ONCE, middle
from models.download import Store
from models.memory.plan import Device
from models.registry import Registry
from shared.engine import Cancel, Cancelled, Embedder, ModelSpec, Source, Vector
from shared.errors import BadRequest, ModelUnavailable
from shared.messages import Image
from tests.tiny_clip import SIDE, chinese_clip_folder, clip_folder, siglip2_folder, siglip_folder

FAMILIES: dict[str, Callable[[Path], Path]] = {
    "clip": clip_folder, "chinese": chinese_clip_folder, "siglip": siglip_folder, "siglip2": siglip2_folder,
}  # fmt: skip
TEXTS = ["a cat", "一只猫", "dba", "a cat and then some"]
MEMORY = (Device("cpu", "", 64 << 30, 60 << 30, 60 << 30),)
NEAR = 1e-5


def spec_of(folder: Path, **options: object) -> ModelSpec:
    return ModelSpec("e", "clip_embedder", (Source("path", str(folder)),), capabilities=frozenset({"embed"}), options=options)


def registry_of(tmp_path: Path, *specs: ModelSpec) -> Registry:
    return Registry(specs, files=Store(tmp_path / "store"), devices=lambda: MEMORY)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in FAMILIES.items()}


@pytest.fixture
def clip(folders: dict[str, Path], tmp_path: Path) -> Iterator[Embedder]:
    registry = registry_of(tmp_path, spec_of(folders["clip"]))
    with registry.embedder("e") as engine:
        yield engine
    registry.close()


def picture(path: Path, size: tuple[int, int], seed: int = 0) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return Image(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), *size)


def unit(features: Any) -> np.ndarray[Any, Any]:
    pooled = features.pooler_output.detach()
    return np.asarray(pooled / pooled.norm(dim=-1, keepdim=True))


def expect_near(found: list[Vector], wanted: np.ndarray[Any, Any]) -> None:
    assert np.asarray(found).shape == wanted.shape
    assert np.abs(np.asarray(found) - wanted).max() < NEAR


@pytest.mark.parametrize("name", FAMILIES)
def test_the_vectors_are_those_of_transformers(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    """One text at a time and one picture at a time there, all at once here: what stands beside it changes nothing."""
    images = [picture(tmp_path / f"{seed}.png", size, seed) for seed, size in enumerate([(32, 32), (70, 40), (40, 90)])]
    registry = registry_of(tmp_path, spec_of(folders[name]))
    with registry.embedder("e") as engine:
        texts, seen = engine.embed_texts(TEXTS), engine.embed_images(images)
    registry.close()
    model = t.AutoModel.from_pretrained(folders[name]).eval()
    tokenizer = t.AutoTokenizer.from_pretrained(folders[name])
    eyes = t.AutoImageProcessor.from_pretrained(folders[name], backend="pil")
    padding = "max_length" if name.startswith("siglip") else False
    longest = model.config.get_text_config().max_position_embeddings
    with torch.no_grad():
        for text, found in zip(TEXTS, texts, strict=True):
            ids = tokenizer([text], return_tensors="pt", padding=padding, truncation=True, max_length=longest)["input_ids"]
            expect_near([found], unit(model.get_text_features(input_ids=ids)))
        for image, found in zip(images, seen, strict=True):
            expect_near([found], unit(model.get_image_features(**eyes(images=[PIL.Image.open(image.path)], return_tensors="pt"))))
    assert np.linalg.norm(np.asarray([*texts, *seen]), axis=1) == pytest.approx(1)
    assert np.abs(np.asarray(texts) @ np.asarray(texts).T - np.eye(len(TEXTS))).min() < 0.999  # they are not all one vector


def test_more_than_a_batch_comes_in_order(clip: Embedder, tmp_path: Path) -> None:
    texts = [f"number {at}" for at in range(TEXTS_AT_ONCE + 3)]
    images = [picture(tmp_path / f"{at}.png", (40, 40), at) for at in range(IMAGES_AT_ONCE + 2)]
    expect_near(clip.embed_texts(texts), np.asarray([clip.embed_texts([text])[0] for text in texts]))
    expect_near(clip.embed_images(images), np.asarray([clip.embed_images([image])[0] for image in images]))


def test_nothing_and_an_empty_text(clip: Embedder) -> None:
    assert clip.embed_texts([]) == clip.embed_images([]) == []
    assert len(clip.embed_texts([""])) == 1


def test_a_long_text_is_cut(clip: Embedder) -> None:
    long = "abcdefghij" * 5000
    assert clip.embed_texts([long]) == clip.embed_texts([long[:100]])


def test_chinese_clip_reads_as_far_as_it_was_trained(folders: dict[str, Path], tmp_path: Path) -> None:
    """52 tokens with begin and end, though it has more positions."""
    registry = registry_of(tmp_path, spec_of(folders["chinese"]))
    with registry.embedder("e") as engine:
        assert engine.embed_texts(["猫" * 50 + "山水"]) == engine.embed_texts(["猫" * 50]) != engine.embed_texts(["猫" * 49])
    registry.close()


def test_capitals_are_no_matter_where_training_had_none(folders: dict[str, Path], tmp_path: Path) -> None:
    registry = registry_of(tmp_path, spec_of(folders["siglip"]))
    with registry.embedder("e") as engine:
        expect_near(engine.embed_texts(["A CAT"]), np.asarray(engine.embed_texts(["a cat"])))
    registry.close()


def test_a_strip_is_seen_in_its_middle(clip: Embedder, tmp_path: Path) -> None:
    """Blown up to the side of a square, 20,000 x 2 pixels would become 320,000 x 32, and of a real model seven times as many each way."""
    assert middle(PIL.Image.new("RGB", (20_000, 2))).size == (6, 2) and middle(PIL.Image.new("RGB", (2, 20_001))).size[1] < 9
    assert middle(PIL.Image.new("RGB", (90, 30))).size == (90, 30)
    wide = PIL.Image.new("RGB", (3200, 32), "white")
    wide.paste(PIL.Image.open(picture(tmp_path / "middle.png", (SIDE, SIDE)).path), (1600 - 16, 0))
    wide.save(tmp_path / "wide.png")
    image = Image(str(tmp_path / "wide.png"), hashlib.sha256((tmp_path / "wide.png").read_bytes()).hexdigest(), 3200, 32)
    expect_near(clip.embed_images([image]), np.asarray(clip.embed_images([picture(tmp_path / "middle.png", (SIDE, SIDE))])))


def test_a_picture_that_is_gone_is_named_and_the_next_one_is_seen(clip: Embedder, tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", (40, 40))
    with pytest.raises(BadRequest, match=r"gone\.png"):
        clip.embed_images([image, Image(str(tmp_path / "gone.png"), "0" * 64, 1, 1)])
    assert len(clip.embed_images([image])) == 1


def test_a_stop_ends_it_before_and_during_a_batch(clip: Embedder) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        clip.embed_texts(["a"], cancel=cancel)

    class AfterOneBatch(Cancel):
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 10  # the first look is at the batch, the others are at layers

    with pytest.raises(Cancelled):
        clip.embed_texts(["a"], cancel=AfterOneBatch())
    assert len(clip.embed_texts(["a"])) == 1


def test_a_closed_one_says_so_also_to_who_waits(folders: dict[str, Path]) -> None:
    engine = clip_embedder.load(spec_of(folders["clip"]), folders["clip"], on_progress=lambda progress: None, cancel=Cancel())
    inside, go_on, raised = threading.Event(), threading.Event(), []

    class Slow(Cancel):
        def is_set(self) -> bool:
            inside.set()
            go_on.wait(20)
            return False

    def ask() -> None:
        try:
            engine.embed_texts(["a"], cancel=Slow())
        except ModelUnavailable as error:
            raised.append(error)

    waiting = threading.Thread(target=ask)
    waiting.start()
    assert inside.wait(20)
    closing = threading.Thread(target=engine.close)
    closing.start()
    waiting.join(20)  # while the owner thread is still inside
    go_on.set()
    closing.join(20)
    assert len(raised) == 1 and "closed" in raised[0].cause
    engine.close()
    with pytest.raises(ModelUnavailable, match="closed"):
        engine.embed_images([])


def test_who_answers_is_leased_and_who_embeds_is_not(folders: dict[str, Path], tmp_path: Path) -> None:
    mislabelled = ModelSpec("m", "scripted", (), capabilities=frozenset({"embed"}))
    registry = registry_of(tmp_path, spec_of(folders["clip"]), ModelSpec("s", "scripted", ()), mislabelled)
    for wrong in (lambda: registry.lease("e"), lambda: registry.embedder("s"), lambda: registry.embedder("m")):
        with pytest.raises(BadRequest, match="what is asked"), wrong():
            pass
    assert "e" not in registry.loaded()  # nothing was loaded to find out
    registry.load("e")
    assert registry.loaded()["e"] == 0 and registry.plan("e").fits and not registry.plan("e").estimated
    registry.close()


def test_half_precision_is_the_folders_own_and_another_is_to_be_had(tmp_path: Path) -> None:
    folder = clip_folder(tmp_path / "half", torch.float16)
    for options, wanted in (({}, "bfloat16"), ({"dtype": "float32"}, "float32")):
        registry = registry_of(tmp_path, spec_of(folder, **options))
        assert registry.plan("e").dtype == wanted  # CPUs compute bfloat16 faster than float16
        with registry.embedder("e") as engine:
            assert np.linalg.norm(engine.embed_texts(["a"])[0]) == pytest.approx(1, abs=1e-3)
        registry.close()


def loading(folder: Path, **options: object) -> None:
    clip_embedder.load(spec_of(folder, **options), folder, on_progress=lambda progress: None, cancel=Cancel())


def test_options_that_make_no_sense(folders: dict[str, Path]) -> None:
    for options in ({"dtype": "4bit"}, {"frobnicate": 1}):
        with pytest.raises(BadRequest):
            loading(folders["clip"], **options)


def changed(folder: Path, to: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    tensors = load_file(to / "model.safetensors")
    change(tensors)
    save_file(tensors, to / "model.safetensors", {"format": "pt"})
    return to


def test_what_an_old_checkpoint_stores_beside_its_weights_is_no_matter(folders: dict[str, Path], tmp_path: Path) -> None:
    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors["text_model.embeddings.position_ids"] = torch.arange(20)[None]

    loading(changed(folders["clip"], tmp_path / "old", add))


def test_weights_that_lack_something_are_refused_by_name(folders: dict[str, Path], tmp_path: Path) -> None:
    def lose(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["text_projection.weight"]

    with pytest.raises(ModelUnavailable, match=r"text_projection\.weight"):
        loading(changed(folders["clip"], tmp_path / "broken", lose))


def test_weights_that_give_no_numbers_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["text_projection.weight"][0, 0] = float("nan")

    folder = changed(folders["clip"], tmp_path / "broken", spoil)
    engine = clip_embedder.load(spec_of(folder), folder, on_progress=lambda progress: None, cancel=Cancel())
    with pytest.raises(ModelUnavailable, match="no numbers"):
        engine.embed_texts(["a"])
    engine.close()


@pytest.mark.parametrize("name", ["tokenizer.json", "preprocessor_config.json", "config.json"])
def test_a_broken_file_is_named(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    folder = changed(folders["clip"], tmp_path / "broken", lambda tensors: None)
    (folder / name).write_text('{"a": ', "utf-8")
    with pytest.raises(ModelUnavailable) as caught:
        loading(folder)
    assert str(folder) in caught.value.cause


def test_another_kind_of_model_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(folders["clip"], tmp_path / "other", lambda tensors: None)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "llama"}), "utf-8")
    with pytest.raises(ModelUnavailable, match="llama"):
        loading(folder)
    with pytest.raises(ModelUnavailable):
        loading(tmp_path)


def test_a_vocabulary_of_another_model_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(folders["chinese"], tmp_path / "other", lambda tensors: None)
    with (folder / "vocab.txt").open("a", encoding="utf-8") as file:
        file.write("\n多")
    with pytest.raises(ModelUnavailable, match="two models"):
        loading(folder)
