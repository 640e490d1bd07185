"""What the engine's tests against `generate` do not reach: scores and settings at the edge of what a number can be."""

from __future__ import annotations

import pytest
import torch

from models.backends.sampler import Sampler
from shared.engine import Sampling
from shared.errors import ModelUnavailable


@pytest.mark.parametrize("temperature", [1e-6, 1e-39, 5e-324])
def test_next_to_no_temperature_is_greedy(temperature: float) -> None:
    scores = torch.randn(50, generator=torch.Generator().manual_seed(1)) * 1000
    assert Sampler(Sampling(temperature=temperature, seed=1), []).draw(scores) == int(scores.argmax())


@pytest.mark.parametrize("temperature", [0, 0.8])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_said(temperature: float, bad: float) -> None:
    """What a model writes in float16 that was made for bfloat16: greedy, it would repeat its first token for ever."""
    with pytest.raises(ModelUnavailable, match="no numbers"):
        Sampler(Sampling(temperature=temperature, seed=1), []).draw(torch.tensor([1.0, bad, 2.0]))
    scores = torch.tensor([1.0, -torch.inf, 2.0])
    assert Sampler(Sampling(temperature=0), []).draw(scores) == 2
