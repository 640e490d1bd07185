"""The next token from a model's scores, as `Sampling` asks for it.

The filters and their order are those of transformers' `generate`: repetition penalty, temperature, top-k, top-p. Drawing
happens on the CPU, so a seed means the same on every device. Knows nothing of models and text.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)  # fmt: skip

from shared.engine import Sampling
from shared.errors import ModelUnavailable

_COLDEST = 1e-6  # below it, scores divided by the temperature are infinite


class Sampler:
    """One per request. `prompt` counts for the repetition penalty."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._filters = _filters(sampling)
        self._greedy = sampling.temperature == 0
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)
        self._seen = dict.fromkeys(prompt) if sampling.repetition_penalty != 1 else None

    def draw(self, scores: torch.Tensor, allowed: Sequence[int] | None = None) -> int:
        """An id, drawn from `scores` (one per id of the vocabulary), out of `allowed` where given.

        Raises `ModelUnavailable` for scores that say nothing: drawn greedily, they would be the first token for ever."""
        scores = scores.float().cpu().reshape(1, -1)
        if not scores.max().isfinite():  # nan, where there is one
            raise ModelUnavailable("The model's scores are no numbers.", "Load it with --dtype bfloat16 or float32, or download it again.")
        if allowed is not None:
            mask = torch.full_like(scores, -torch.inf)
            mask[:, list(allowed)] = 0
            scores = scores + mask
        seen = torch.LongTensor([list(self._seen or ())])
        scores = self._filters(seen, scores)
        drawn = scores.argmax() if self._greedy else torch.multinomial(scores.softmax(-1), 1, generator=self._generator)
        token_id = int(drawn)
        if self._seen is not None:
            self._seen[token_id] = None
        return token_id


def _filters(sampling: Sampling) -> LogitsProcessorList:
    filters = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        filters.append(RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty)))
    if sampling.temperature == 0:
        return filters
    if sampling.temperature != 1:
        filters.append(TemperatureLogitsWarper(max(float(sampling.temperature), _COLDEST)))
    if sampling.top_k > 0:
        filters.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        filters.append(TopPLogitsWarper(float(sampling.top_p)))
    return filters
