"""What models need: from real files where there are any, from the catalog's figures, and from files that lie."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from models.backends import prefix_cache
from models.memory import footprint
from models.memory.footprint import (
    EMBEDDING_WORKING,
    KEPT_BYTES,
    LLAMA_PROCESS,
    PAINTED_PIXEL,
    PICTURES_WORKING,
    QWEN_PICTURES_WORKING,
    SEEN_BYTES,
    SLACK,
    TORCH_WORKING,
)
from shared.engine import ModelSpec
from tests.gguf_file import METADATA, gguf
from tests.tiny_models import tiny_llama_folder

GB = 10**9
SEVEN = ModelSpec(
    "seven", "transformers_local", (), context=4096, parameters=7 * GB, unquantized=GB, cache_bytes=131072, size_bytes=14 * GB,
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama_folder(tmp_path_factory.mktemp("tiny"))


def with_options(spec: ModelSpec, **options: object) -> ModelSpec:
    return ModelSpec(
        spec.id, spec.backend, (), context=spec.context, parameters=spec.parameters, unquantized=spec.unquantized,
        cache_bytes=spec.cache_bytes, size_bytes=spec.size_bytes, options=options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "weights"),
    [("auto", 14.0), ("bfloat16", 14.0), ("float16", 14.0), ("float32", 28.0), ("8bit", 6 * 8.1 / 8 + 2), ("4bit", 6 * 4.5 / 8 + 2)],
)
def test_weights_by_dtype(dtype: str, weights: float) -> None:
    found = footprint.need(with_options(SEVEN, dtype=dtype), None, "cuda:0")
    assert found.weights == pytest.approx(weights * GB) and not found.estimated
    assert found.working == TORCH_WORKING + found.weights // SLACK


def test_a_cache_is_one_conversation_and_those_that_are_kept() -> None:
    one = 4096 * 131072
    assert footprint.need(SEVEN, None).cache == 3 * one
    assert footprint.need(with_options(SEVEN, dtype="float32"), None).cache == 2 * one + min(KEPT_BYTES, 4 * one)
    assert footprint.need(with_options(SEVEN, prefix_bytes=5), None).cache == one + 5


def test_the_caches_are_bounded_as_counted() -> None:
    assert (prefix_cache.CONVERSATIONS, prefix_cache.BYTES) == (footprint.KEPT_CONVERSATIONS, KEPT_BYTES)


def test_weights_move_only_where_a_gpu_is_too_small_for_whole_ones() -> None:
    assert footprint.need(SEVEN, None, "cuda:0").movable
    assert not footprint.need(SEVEN, None, "cpu").movable
    assert not footprint.need(with_options(SEVEN, dtype="4bit"), None, "cuda:0").movable


def test_pictures_take_more() -> None:
    seeing = ModelSpec("s", "transformers_local", (), capabilities=frozenset({"image"}), parameters=GB, cache_bytes=1, context=1)
    blind = ModelSpec("b", "transformers_local", (), parameters=GB, cache_bytes=1, context=1)
    assert footprint.need(seeing, None).working - footprint.need(blind, None).working == SEEN_BYTES + PICTURES_WORKING
    qwen = replace(seeing, id="qwen2.5-vl-3b-instruct")
    assert footprint.need(qwen, None).working - footprint.need(blind, None).working == SEEN_BYTES + QWEN_PICTURES_WORKING


@pytest.mark.parametrize(
    ("kind", "text", "working"),
    [
        ("qwen2_vl", "qwen2_vl_text", QWEN_PICTURES_WORKING),
        ("qwen3_vl_moe", "", QWEN_PICTURES_WORKING),
        ("internvl", "qwen2", PICTURES_WORKING),
    ],
)
def test_how_a_model_sees_is_read_from_its_config(tmp_path: Path, kind: str, text: str, working: int) -> None:
    config = {"model_type": kind} | ({"text_config": {"model_type": text}} if text else {})
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    seeing = ModelSpec("s", "transformers_local", (), capabilities=frozenset({"image"}), parameters=GB, cache_bytes=1, context=1)
    blind = replace(seeing, capabilities=frozenset())
    assert footprint.need(seeing, tmp_path).working - footprint.need(blind, tmp_path).working == SEEN_BYTES + working


def test_endpoints_need_nothing() -> None:
    assert footprint.need(ModelSpec("far", "openai_remote", (), size_bytes=5), None).total == 0


def test_only_a_size_is_an_estimate() -> None:
    found = footprint.need(ModelSpec("x", "transformers_local", (), size_bytes=10 * GB, context=100), None)
    assert (found.weights, found.cache, found.dtype, found.estimated) == (10 * GB, 0, "bfloat16", True)


@pytest.mark.parametrize(("dtype", "kind"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_a_folder_is_counted_by_its_headers(tiny: Path, dtype: str, kind: torch.dtype) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=kind)
    spec = ModelSpec("tiny", "transformers_local", (), context=512, options={"dtype": dtype})
    found = footprint.need(spec, tiny)
    assert found.weights == sum(tensor.nbytes for tensor in model.state_dict().values())
    output = model(input_ids=torch.zeros((1, 512), dtype=torch.long), use_cache=True)
    one = sum(layer.keys.nbytes + layer.values.nbytes for layer in output.past_key_values.layers)
    assert found.cache == 3 * one and not found.estimated


def test_the_same_weights_in_another_layout_are_counted_once(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "twice"
    shutil.copytree(tiny, folder)
    once = footprint.checkpoint(folder)
    shutil.copy(folder / "model.safetensors", folder / "consolidated.safetensors")
    assert footprint.checkpoint(folder) == once
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors", "b": 7, "c": "../x.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert footprint.checkpoint(folder) == once


def test_float16_on_a_cpu_is_bfloat16(tmp_path: Path) -> None:
    folder = tiny_llama_folder(tmp_path / "half", dtype=torch.float16)
    spec = ModelSpec("half", "transformers_local", ())
    assert footprint.need(spec, folder, "cpu").dtype == "bfloat16" and footprint.need(spec, folder, "cuda:0").dtype == "float16"


def test_a_gguf_file(tmp_path: Path) -> None:
    numbers = {"block_count": 30, "attention.head_count": 9, "attention.head_count_kv": 3, "embedding_length": 576}
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf({**METADATA, **{f"llama.{key}": value for key, value in numbers.items()}}))
    found = footprint.need(ModelSpec("m", "llama_cpp", (), context=1000, parallel=4), path)
    assert found.weights == path.stat().st_size and found.cache == 30 * 3 * 128 * 2 * 1000 * 4 and not found.estimated
    assert found.working == LLAMA_PROCESS + found.weights // SLACK


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff" * 9, (1 << 62).to_bytes(8, "little") + b"{}", (20).to_bytes(8, "little") + b"[" * 20,
        (10**5).to_bytes(8, "little") + b"[" * 10**5, (4).to_bytes(8, "little") + b"null",
        (60).to_bytes(8, "little") + b'{"w":{"dtype":"F32","shape":[-1,99999999999999999999]},"v":1}',
    ],
)  # fmt: skip
def test_files_that_lie_are_an_estimate(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    (tmp_path / "config.json").write_bytes(content)
    (tmp_path / "m.gguf").write_bytes(content)
    found = footprint.need(ModelSpec("x", "transformers_local", (), size_bytes=1000), tmp_path)
    assert (found.weights, found.estimated) == (1000, True)
    assert footprint.need(ModelSpec("x", "llama_cpp", (), size_bytes=1000), tmp_path / "m.gguf").estimated


@pytest.mark.parametrize("config", [{"num_hidden_layers": "many"}, {"num_attention_heads": 0, "hidden_size": 8}, {"text_config": 7}, []])
def test_a_config_that_lies(tmp_path: Path, config: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert footprint.need(ModelSpec("x", "transformers_local", (), parameters=8), tmp_path).estimated


def test_a_language_model_inside_a_config(tmp_path: Path) -> None:
    inner = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32, "dtype": "float32"}
    (tmp_path / "config.json").write_text(json.dumps({"text_config": inner, "hidden_size": 999}))
    found = footprint.need(ModelSpec("x", "transformers_local", (), parameters=8, context=10), tmp_path)
    assert (found.dtype, found.cache) == ("float32", 3 * 10 * 2 * 2 * 8 * 2 * 4)


def test_smaller_gives_up_precision_then_context() -> None:
    full = with_options(SEVEN)
    first = footprint.smaller(full, "float32")
    assert first is not None and first[0].options["dtype"] == "bfloat16" and first[0].context == 4096
    second = footprint.smaller(with_options(SEVEN, dtype="float32"), "float32")  # asked for: it stays
    assert second is not None and second[0].options["dtype"] == "float32"
    assert (second[0].context, second[1]) == (2048, "4,096 → 2,048")
    assert footprint.need(second[0], None).cache < footprint.need(with_options(SEVEN, dtype="float32"), None).cache / 2
    assert footprint.smaller(ModelSpec("x", "llama_cpp", (), context=2000), "gguf") is None


def test_what_measures_pictures_is_counted_with_what_was_measured_of_it() -> None:
    """It has no KV cache, is never quantised, and can be no smaller."""
    facts = ModelSpec("facts", "image_facts", (), capabilities=frozenset({"image"}), size_bytes=19_000_000)
    needed = footprint.need(facts, None)
    assert (needed.weights, needed.cache, needed.working, needed.estimated) == (19_000_000, 0, footprint.FACTS_WORKING, False)
    assert footprint.smaller(facts, "float32") is None


def test_an_embedder_has_no_cache_and_is_published_at_32_bit() -> None:
    spec = ModelSpec("e", "clip_embedder", (), capabilities=frozenset({"embed"}), context=77, parameters=GB, size_bytes=4 * GB)
    found = footprint.need(spec, None)
    assert (found.weights, found.cache, found.working) == (4 * GB, 0, EMBEDDING_WORKING + 4 * GB // SLACK)
    assert (found.dtype, found.estimated) == ("float32", False)
    assert footprint.need(replace(spec, options={"dtype": "bfloat16"}), None).weights == 2 * GB
    assert footprint.need(replace(spec, parameters=0), None).weights == 4 * GB
    assert footprint.need(replace(spec, parameters=0), None).estimated
    assert footprint.smaller(spec, "float32") == (replace(spec, options={"dtype": "bfloat16"}), "float32 → bfloat16")
    assert footprint.smaller(spec, "bfloat16") is None


def test_a_painter_takes_more_for_larger_pictures_and_may_lie_on_the_cpu() -> None:
    spec = ModelSpec("p", "diffusers_painter", (), capabilities=frozenset({"draw"}), parameters=GB, options={"side": 512})
    found = footprint.need(spec, None, "cuda:0")
    assert (found.weights, found.cache, found.dtype) == (2 * GB, 0, "bfloat16") and found.movable and not found.estimated
    assert found.working == TORCH_WORKING + 2 * GB // SLACK + 512 * 512 * PAINTED_PIXEL
    large = footprint.need(replace(spec, options={"side": 1024, "dtype": "float32"}), None)
    assert large.weights == 4 * GB and large.working - TORCH_WORKING - 4 * GB // SLACK == 4 * 512 * 512 * PAINTED_PIXEL
    assert not large.movable and footprint.need(replace(spec, parameters=0, size_bytes=GB), None).estimated
