"""InternLM-XComposer2 called the ways any model of transformers is called, and asked for what these give back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.architectures import load_model
from tests.tiny_xcomposer2 import Sizes, folder

IDS = torch.tensor([[1, 5, 9, 30, 7, 4]])
MASK = torch.tensor([[False, True, True, False, False, False]])


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_model(folder(tmp_path_factory.mktemp("model") / "m", Sizes()), attn_implementation="eager")


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_model(folder(tmp_path_factory.mktemp("tiled") / "m", Sizes(tiled=True, grid=4, img_size=16)))


def pictures(*size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(1))


def test_hidden_states_and_attentions_are_given_when_asked_for(model: Any) -> None:
    embeds = model.model.tok_embeddings(IDS)
    given = {"inputs_embeds": embeds, "image_mask": MASK}
    plain = model(**given)
    assert plain.hidden_states is None and plain.attentions is None
    full = model(**given, output_hidden_states=True, output_attentions=True)
    assert torch.equal(full.logits, plain.logits)
    assert len(full.hidden_states) == 3 and torch.equal(full.hidden_states[0], embeds)
    torch.testing.assert_close(model.output(full.hidden_states[-1]), plain.logits, atol=1e-6, rtol=0)
    assert [tuple(weights.shape) for weights in full.attentions] == [(1, 6, 6, 6)] * 2
    torch.testing.assert_close(full.attentions[0].sum(-1), torch.ones(1, 6, 6), atol=1e-5, rtol=0)


def test_generate_gives_them_step_by_step(model: Any) -> None:
    steps = model.generate(
        IDS, max_new_tokens=3, do_sample=False, eos_token_id=None, return_dict_in_generate=True, output_hidden_states=True
    )
    assert [states[-1].shape[1] for states in steps.hidden_states] == [6, 1, 1]


def test_a_tuple_instead_of_an_output(model: Any) -> None:
    logits, cache = model(IDS, return_dict=False)
    assert torch.equal(logits, model(IDS).logits) and cache.get_seq_length() == 6
    (alone,) = model(IDS, return_dict=False, use_cache=False)
    torch.testing.assert_close(alone, logits, atol=1e-6, rtol=0)


def test_a_tensor_of_pictures_becomes_a_tensor(model: Any, tiled: Any) -> None:
    batch = pictures(2, 3, 32, 16)
    found = tiled.encode_images(batch)
    assert isinstance(found, Tensor) and found.shape[::2] == (2, 48)
    assert all(torch.equal(one, other) for one, other in zip(tiled.encode_images(list(batch)), found, strict=True))
    assert torch.equal(tiled.encode_images(batch[1]), found[1:])
    square = pictures(2, 3, 24, 24)
    assert torch.equal(model.encode_images(square[0]), model.encode_images(square[:1]))


def test_what_is_no_picture_is_said(tiled: Any) -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, 32, 16\) is no picture"):
        tiled.encode_images([pictures(1, 3, 32, 16)])


def test_a_config_may_name_its_dtype_as_torch_does(tmp_path: Path) -> None:
    for name, dtype in [("torch.bfloat16", torch.bfloat16), ("bfloat16", torch.bfloat16), ("auto", torch.float32)]:
        assert load_model(folder(tmp_path / name, Sizes(), torch_dtype=name)).dtype is dtype
