from __future__ import annotations

import pytest

from shared import sizes
from shared.errors import BadRequest


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("6GB", 6 * 10**9), ("6 gb", 6 * 10**9), ("512MB", 512 * 10**6), ("1.5GiB", 3 * 2**29), ("4g", 2**32), ("100%", 10**12),
        ("50%", 5 * 10**11), ("12.5%", 125 * 10**9), ("", 10**12), (" ", 10**12), ("2TB", 10**12), ("1b", 1),
    ],
)  # fmt: skip
def test_sizes_people_write(text: str, size: int) -> None:
    assert sizes.parse(text).of(10**12) == size


@pytest.mark.parametrize(
    "text", ["6", "GB", "-1GB", "0GB", "0%", "101%", "1e9B", "6GB!", "6 G B", "NaNGB", "٦GB", "1,5GB", "0.4b", "9" * 40 + "GB"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        sizes.parse(text)
    assert caught.value.remedy == "Write it like 6GB, 512MB or 50%."


@pytest.mark.parametrize(("count", "text"), [(0, "0 MB"), (1, "1 MB"), (98_362_432, "99 MB"), (10**9, "1.0 GB"), (2_949_000_000, "2.9 GB")])
def test_sizes_people_read(count: int, text: str) -> None:
    assert sizes.written(count) == text
