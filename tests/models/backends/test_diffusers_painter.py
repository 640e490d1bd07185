"""Pictures drawn by a tiny Stable Diffusion, through the registry as the writing of articles uses it."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from models import pipelines
from models.backends import diffusers_painter
from models.backends.diffusers_painter import MOST_SIDE, fitted
from models.download import Store
from models.memory import footprint
from models.memory.plan import Device
from models.registry import Registry
from shared.engine import Cancel, Cancelled, ModelSpec, Painter, Painting, Source
from shared.errors import BadRequest, ModelUnavailable

pytest.importorskip("diffusers", reason="drawing is an extra: requirements-painting.txt")
from tests.tiny_painters import SIDE, painter_folder, z_image_folder

MEMORY = (Device("cpu", "", 64 << 30, 60 << 30, 60 << 30),)
UNET = "unet/diffusion_pytorch_model.safetensors"


def spec_of(folder: Path, **options: object) -> ModelSpec:
    return ModelSpec(
        "p", "diffusers_painter", (Source("path", str(folder)),), capabilities=frozenset({"draw"}),
        options={"steps": 3, "guidance": 2.0, "side": SIDE, **options},
    )  # fmt: skip


def registry_of(tmp_path: Path, *specs: ModelSpec) -> Registry:
    return Registry(specs, files=Store(tmp_path / "store"), devices=lambda: MEMORY)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Where the machine is busy, a model so small takes ten times as long on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return painter_folder(tmp_path_factory.mktemp("painter"))


@pytest.fixture(scope="module")
def painter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Painter]:
    registry = registry_of(tmp_path_factory.mktemp("store"), spec_of(folder))
    with registry.painter("p") as engine:
        yield engine
    registry.close()


def opened(made: Painting) -> PIL.Image.Image:
    picture = PIL.Image.open(io.BytesIO(made.png))
    picture.load()
    return picture


def test_a_picture_of_that_shape(painter: Painter) -> None:
    steps: list[tuple[int, int]] = []
    made = painter.paint("a cat", 640, 480, seed=7, on_step=lambda done, total: steps.append((done, total)))
    picture = opened(made)
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (made.width, made.height)) == ("PNG", "RGB", (112, 80))
    assert steps == [(1, 3), (2, 3), (3, 3)] and (made.seed, made.steps) == (7, 3)
    assert len(set(picture.getdata())) > 50  # there is something on it


def test_the_same_seed_draws_the_same_and_another_seed_prompt_or_number_of_steps_does_not(painter: Painter) -> None:
    first = painter.paint("a cat", 32, 32, seed=1)
    assert painter.paint("a cat", 32, 32, seed=1) == first
    others = [
        painter.paint("a cat", 32, 32, seed=2),
        painter.paint("a dog", 32, 32, seed=1),
        painter.paint("a cat", 32, 32, seed=1, steps=5),
    ]
    assert len({made.png for made in (first, *others)}) == 4 and others[2].steps == 5


def test_without_a_seed_one_is_drawn_and_told(painter: Painter) -> None:
    made, other = painter.paint("a cat", 32, 32), painter.paint("a cat", 32, 32)
    assert made.seed != other.seed and painter.paint("a cat", 32, 32, seed=made.seed).png == made.png


def test_a_long_prompt_and_a_chinese_one(painter: Painter) -> None:
    for prompt in ("a cat " * 500, "一只猫在画水墨画"):
        assert opened(painter.paint(prompt, 32, 32, seed=1)).size == (SIDE, SIDE)


@pytest.mark.parametrize(
    "how",
    [
        {"prompt": " "}, {"prompt": "x" * 5000}, {"width": 0}, {"height": -1}, {"width": 10**9}, {"width": 1000, "height": 10},
        {"seed": -1}, {"seed": 2**32}, {"steps": -1}, {"steps": 1000},
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_says_why(painter: Painter, how: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match="cannot be drawn"):
        painter.paint(**{"prompt": "a cat", "width": 32, "height": 32, **how})  # type: ignore[arg-type]


def test_a_stop_ends_it_between_two_layers_and_the_next_picture_is_drawn(painter: Painter) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        painter.paint("a cat", 32, 32, cancel=cancel)
    wanted = painter.paint("a cat", 32, 32, seed=1)

    cancel, steps = Cancel(), []

    def count(done: int, total: int) -> None:
        steps.append((done, total))
        if done == 2:
            cancel.set()  # seen by the very next layer

    with pytest.raises(Cancelled):
        painter.paint("a cat", 32, 32, seed=1, steps=50, cancel=cancel, on_step=count)
    assert steps == [(1, 50), (2, 50)]
    assert painter.paint("a cat", 32, 32, seed=1) == wanted


def test_a_closed_one_says_so_also_to_who_waits(folder: Path) -> None:
    engine = diffusers_painter.load(spec_of(folder), folder, on_progress=lambda progress: None, cancel=Cancel())
    inside, go_on, raised = threading.Event(), threading.Event(), []

    def slow(done: int, total: int) -> None:
        inside.set()
        go_on.wait(20)

    def ask() -> None:
        try:
            engine.paint("a cat", 32, 32, on_step=slow)
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
    with pytest.raises(ModelUnavailable, match="closed"):
        engine.paint("a cat", 32, 32)


def test_half_precision_under_its_own_names(tmp_path: Path) -> None:
    """On a CPU it is computed in bfloat16; full weights beside it are neither fetched nor counted nor loaded."""
    folder = painter_folder(tmp_path / "half", half=True)
    painter_folder(folder)
    counted = footprint.pipeline_checkpoint(folder)
    assert counted.dtype == "float16" and all(".fp16." in file.name for file in pipelines.weights(folder))
    registry = registry_of(tmp_path, spec_of(folder))
    plan = registry.plan("p")
    assert (plan.dtype, plan.weights, plan.fits, plan.estimated) == ("bfloat16", 2 * counted.parameters, True, False)
    for file in folder.glob("*/*.safetensors"):
        if ".fp16." not in file.name:
            file.write_bytes(b"broken")
    with registry.painter("p") as engine:
        assert opened(engine.paint("a cat", 32, 32, seed=1)).size == (SIDE, SIDE)
    registry.close()


def test_another_family_with_a_chat_model_for_its_text_encoder(tmp_path: Path) -> None:
    folder = z_image_folder(tmp_path / "z")
    engine = diffusers_painter.load(spec_of(folder, guidance=0.0), folder, on_progress=lambda progress: None, cancel=Cancel())
    steps: list[int] = []
    made = engine.paint("一只猫在画水墨画", 1024, 768, seed=1, on_step=lambda done, total: steps.append(done))
    assert opened(made).size == (112, 80) and steps == [1, 2, 3]
    assert engine.paint("一只猫在画水墨画", 1024, 768, seed=1) == made != engine.paint("一只狗", 1024, 768, seed=1)
    engine.close()


def test_what_the_makers_filter_holds_back_is_said_to_be_that(tmp_path: Path) -> None:
    """It would come as a black picture otherwise."""
    folder = painter_folder(tmp_path / "prudish", prudish=True)
    engine = diffusers_painter.load(spec_of(folder), folder, on_progress=lambda progress: None, cancel=Cancel())
    with pytest.raises(BadRequest, match="filter"):
        engine.paint("a cat", 32, 32, seed=1)
    engine.close()


def test_what_is_counted_is_what_is_loaded(folder: Path) -> None:
    engine = diffusers_painter.load(spec_of(folder), folder, on_progress=lambda progress: None, cancel=Cancel())
    loaded = sum(one.numel() for part in diffusers_painter._models(engine._pipeline) for one in part.parameters())
    engine.close()
    found = footprint.need(spec_of(folder), folder)
    assert found.weights == 4 * loaded and found.dtype == "float32" and not found.estimated and not found.cache


def loading(folder: Path, **options: object) -> None:
    diffusers_painter.load(spec_of(folder, **options), folder, on_progress=lambda progress: None, cancel=Cancel()).close()


def copied(folder: Path, to: Path) -> Path:
    for file in folder.rglob("*"):
        if file.is_file():
            place = to / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return to


def changed(folder: Path, to: Path, name: str, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    tensors = load_file(copied(folder, to) / name)
    change(tensors)
    save_file(tensors, to / name, {"format": "pt"})
    return to


@pytest.mark.parametrize(("name", "tensor"), [(UNET, "conv_in.weight"), ("text_encoder/model.safetensors", "")])
def test_a_tensor_that_is_missing_or_of_another_shape_is_named(folder: Path, tmp_path: Path, name: str, tensor: str) -> None:
    tensor = tensor or next(key for key in load_file(folder / name) if key.endswith("token_embedding.weight"))

    def lose(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[tensor]

    def shrink(tensors: dict[str, torch.Tensor]) -> None:
        tensors[tensor] = tensors[tensor][:3].clone()

    for number, change in enumerate((lose, shrink)):
        with pytest.raises(ModelUnavailable) as caught:
            loading(changed(folder, tmp_path / str(number), name, change))
        assert str((tmp_path / str(number) / name).parent) in caught.value.cause


def test_pickled_weights_are_not_opened(folder: Path, tmp_path: Path) -> None:
    copied(folder, tmp_path / "pickled")
    tensors = load_file(tmp_path / "pickled" / UNET)
    torch.save(tensors, tmp_path / "pickled" / UNET.replace(".safetensors", ".bin"))
    (tmp_path / "pickled" / UNET).unlink()
    with pytest.raises(ModelUnavailable, match="unet"):
        loading(tmp_path / "pickled")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_class_name", ["pipeline", "Mine"]), ("_class_name", "AudioLDM2Pipeline"), ("_class_name", None), ("unet", ["os", "system"]),
        ("unet", ["unet", "Mine"]), ("unet", ["transformers", "Nobody"]), ("unet", ["diffusers", "__builtins__"]), ("unet", [1, 2, 3]),
        ("../unet", ["diffusers", "UNet2DConditionModel"]),
    ],
)  # fmt: skip
def test_an_index_that_names_anything_else_is_refused(folder: Path, tmp_path: Path, key: str, value: object) -> None:
    index = copied(folder, tmp_path / "other") / pipelines.INDEX
    index.write_text(json.dumps(json.loads(index.read_text("utf-8")) | {key: value}), "utf-8")
    (tmp_path / "other" / "unet" / "unet.py").write_text("raise SystemExit", "utf-8")
    with pytest.raises(ModelUnavailable):
        loading(tmp_path / "other")


@pytest.mark.parametrize("name", [pipelines.INDEX, "unet/config.json", "tokenizer/tokenizer.json", "scheduler/scheduler_config.json", UNET])
def test_a_broken_file_is_no_crash(folder: Path, tmp_path: Path, name: str) -> None:
    (copied(folder, tmp_path / "broken") / name).write_text('{"a": ', "utf-8")
    with pytest.raises(ModelUnavailable) as caught:
        loading(tmp_path / "broken")
    assert str(tmp_path) in caught.value.cause


def test_no_folder_of_a_pipeline(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"model_index\.json"):
        loading(tmp_path, dtype="float32")


@pytest.mark.parametrize("options", [{"dtype": "4bit"}, {"steps": 0}, {"steps": "many"}, {"side": 9999}, {"guidance": -1}, {"x": 1}])
def test_options_that_make_no_sense(folder: Path, options: dict[str, object]) -> None:
    with pytest.raises(BadRequest):
        loading(folder, **options)


def test_who_draws_answers_nobody(folder: Path, tmp_path: Path) -> None:
    registry = registry_of(tmp_path, spec_of(folder), ModelSpec("s", "scripted", ()))
    for wrong in (lambda: registry.lease("p"), lambda: registry.embedder("p"), lambda: registry.painter("s")):
        with pytest.raises(BadRequest, match="what is asked"), wrong():
            pass
    assert registry.loaded() == {}
    registry.close()


sides = st.integers(1, 5000)


@given(sides, sides, st.sampled_from([0, 512, 1024]), st.sampled_from([4, 16, 32]))
def test_sizes_are_possible_and_of_the_shape_asked_for(width: int, height: int, side: int, multiple: int) -> None:
    made = fitted(width, height, side, multiple)
    assert all(one % multiple == 0 and 64 <= one <= MOST_SIDE for one in made)
    assert (made[0] >= made[1]) if width > height else (made[0] <= made[1])


def test_sizes_by_example() -> None:
    assert fitted(1024, 1024, 512, 16) == (512, 512) and fitted(1600, 900, 1024, 16) == (1360, 768)
    assert fitted(800, 600, 0, 16) == (800, 608)
