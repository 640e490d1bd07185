"""What the bench of writing asks is asked as it says, and hardly more is read anew than any cache could spare."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import torch

from bench import writing_prefix
from bench.writing_prefix import Asking, Seeing, Shelf, Spent, article, both, measure, written
from bench.writing_prefix_model import tokenizer, xcomposer2
from models.backends.prefix_cache import Prefix, PrefixCaches, common_prefix
from models.backends.safetensors_folder import read_checkpoint
from shared.engine import ModelSpec

TEXT = article(1)
ARTICLE_TOKENS = 657  # of the same article in the tokenizer of the releases
Made = tuple[str, ModelSpec, Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Made]:
    asked = writing_prefix.PROMPTS.read_text("utf-8")
    return both(xcomposer2(tmp_path_factory.mktemp("writer") / "model", [TEXT, asked], writing_prefix.SIDE, thin=True))


class Recorded(PrefixCaches):
    """The engine's own, and all that was ever in them."""

    least = 0  # positions that had to be computed even if everything were kept for ever

    def take(self, prompt: Sequence[int]) -> Prefix:
        known = max((common_prefix(ids, prompt[:-1]) for ids in self.told), default=0)
        self.least += len(prompt) - known
        return super().take(prompt)

    def keep(self, prefix: Prefix) -> None:
        self.told.append(list(prefix.ids))
        super().keep(prefix)

    @property
    def told(self) -> list[list[int]]:
        return self.__dict__.setdefault("_told", [])  # type: ignore[no-any-return]


def asked(made: Made, pictures: Path) -> tuple[Asking, int]:
    _, spec, folder = made
    checkpoint = read_checkpoint(folder, "bfloat16", torch.device("cpu"), cancelled=lambda: False)
    with closing(Seeing(spec, checkpoint, folder, {})) as seeing:
        decoder = seeing.engine._live()
        decoder.caches = recorded = Recorded(checkpoint.model.config)
        return written(spec, seeing, Shelf(pictures), TEXT), recorded.least


@pytest.mark.parametrize("which", [0, 1], ids=["looking", "by titles"])
def test_nearly_all_that_prompts_have_in_common_is_read_once(made: list[Made], which: int, tmp_path: Path) -> None:
    asking, least = asked(made[which], tmp_path)
    whole = asking.of(("places", "captions", "choice"))
    assert least <= whole.read < 1.02 * least
    assert asking.of(("places", "captions")).read < 0.4 * asking.of(("places", "captions")).prompts


def test_a_chosen_candidate_is_not_looked_at_again_where_it_stands_in_the_article(made: list[Made], tmp_path: Path) -> None:
    asking, _ = asked(made[0], tmp_path)
    choices = [spent for stage, spent in zip(writing_prefix.STAGES, asking.spent, strict=True) if stage == "choice"]
    assert [spent.looks for spent in choices] == [writing_prefix.CANDIDATES] * writing_prefix.PICTURES


def test_the_vocabulary_takes_as_many_tokens_as_that_of_the_releases() -> None:
    ids = tokenizer([TEXT, writing_prefix.PROMPTS.read_text("utf-8")])(TEXT, add_special_tokens=False)["input_ids"]
    assert abs(len(ids) - ARTICLE_TOKENS) < 0.05 * ARTICLE_TOKENS


def test_without_reuse_everything_is_read_and_the_rows_say_so(made: list[Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measure("made", *made[1][1:], Shelf(tmp_path), TEXT, 1)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[1] for row in rows] == ["text", "choices", "all"]
    prompts, read = ([int(row[column].replace(",", "")) for row in rows] for column in (2, 3))
    assert prompts[2] == prompts[0] + prompts[1] and read[2] == read[0] + read[1] < prompts[2]
    assert Spent(1, 2) + Spent(3, 4) == Spent(4, 6)
