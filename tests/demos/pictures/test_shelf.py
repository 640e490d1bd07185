"""Folders of conversations: found by their key alone, gone with their application, and nobody's because of somebody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from demos.pictures.shelf import CEILING, FRESH_SECONDS, IDLE_SECONDS, PREFIX, Shelf, is_key
from demos.vision.desk import Desk
from shared.errors import BadRequest
from tests.demos.pictures.samples import corners, saved

PNG = saved(corners(), "PNG")
ROOT = Path(__file__).resolve().parents[3]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shelf(tmp_path: Path, clock: Clock) -> Iterator[Shelf[Desk]]:
    shelf = Shelf(Desk, tmp_path, most=3, clock=clock)
    yield shelf
    shelf.close()


def opened(shelf: Shelf[Desk], *, picture: bool = True) -> str:
    key = shelf.new_key()
    desk = shelf.open(key)
    if picture:
        desk.add(PNG)
    return key


def there(shelf: Shelf[Desk], *keys: str) -> list[bool]:
    """Without touching them."""
    return [key in shelf._open for key in keys]


def test_a_key_opens_one_desk_again_and_again(shelf: Shelf[Desk]) -> None:
    key = opened(shelf)
    assert is_key(key) and shelf.open(key) is shelf.find(key) and len(shelf.open(key).draft) == 1
    assert shelf.find(shelf.new_key()) is None


@pytest.mark.parametrize("key", ["", "a" * 31, "a" * 33, "A" * 32, "g" * 32, "../" + "a" * 29, "a" * 32 + "\n"])
def test_what_is_no_key_opens_nothing(shelf: Shelf[Desk], key: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no valid key"):
        shelf.open(key)
    assert shelf.find(key) is None and list(tmp_path.iterdir()) == []


def test_folders_are_private_and_go_with_their_conversation(shelf: Shelf[Desk], tmp_path: Path) -> None:
    key = opened(shelf)
    folder = Path(shelf.open(key).draft[0].image.path).parent
    assert folder.name == key and folder.parent.parent == tmp_path
    assert os.name == "nt" or (folder.stat().st_mode & 0o77, folder.parent.stat().st_mode & 0o77) == (0, 0)
    shelf.remove(key)
    assert not folder.exists() and shelf.find(key) is None
    shelf.remove(key)
    shelf.open(key).add(PNG)
    assert folder.exists()
    shelf.close()
    assert list(tmp_path.iterdir()) == []


def test_what_nobody_asked_for_in_a_long_while_goes(shelf: Shelf[Desk], clock: Clock) -> None:
    old, used = opened(shelf), opened(shelf)
    folder = Path(shelf.open(old).draft[0].image.path).parent
    clock.now = IDLE_SECONDS
    shelf.find(used)
    clock.now += 1
    new = opened(shelf)
    assert there(shelf, old, used, new) == [False, True, True] and not folder.exists()


def test_many_who_come_push_out_nobody_who_was_here_lately(shelf: Shelf[Desk], clock: Clock) -> None:
    mine = opened(shelf)
    many = [opened(shelf, picture=False) for _ in range(9)]
    assert there(shelf, mine, *many) == [True] * 10
    clock.now = FRESH_SECONDS + 1
    last = opened(shelf)
    assert there(shelf, mine, last) == [True, True] and sum(there(shelf, *many)) == 1  # who only looked goes first


def test_of_those_with_pictures_the_longest_absent_goes_first(shelf: Shelf[Desk], clock: Clock) -> None:
    first, second, third = (opened(shelf) for _ in range(3))
    clock.now = FRESH_SECONDS + 1
    shelf.find(first)
    fourth = opened(shelf)
    assert there(shelf, first, second, third, fourth) == [True, False, True, True]


def test_there_is_an_end_to_it_all_the_same(shelf: Shelf[Desk]) -> None:
    keys = [opened(shelf, picture=bool(n % 2)) for n in range(3 * CEILING + 1)]
    assert sum(there(shelf, *keys)) <= 3 * CEILING and there(shelf, keys[-1]) == [True]


def test_many_at_once(shelf: Shelf[Desk]) -> None:
    keys = [shelf.new_key() for _ in range(20)]

    def use(at: int) -> bool:
        return shelf.open(keys[at % 20]) is shelf.find(keys[at % 20])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(400)))


def test_a_killed_application_leaves_nothing_for_long(tmp_path: Path) -> None:
    """The next one removes its folder; a folder of one that runs, of somebody else, or a link, it leaves."""
    code = (
        "import os, pathlib, sys; sys.path.insert(0, sys.argv[2]); from demos.pictures.shelf import Shelf\n"
        "from demos.vision.desk import Desk\n"
        "shelf = Shelf(Desk, pathlib.Path(sys.argv[1])); shelf.open(shelf.new_key()).add(open(sys.argv[3], 'rb').read()); os._exit(9)"
    )
    picture = tmp_path / "a.png"
    picture.write_bytes(PNG)
    root = tmp_path / "root"
    root.mkdir()
    assert subprocess.run([sys.executable, "-c", code, str(root), str(ROOT), str(picture)], check=False, timeout=60).returncode == 9
    (left,) = root.iterdir()
    assert len(list(left.glob("*/*.png"))) == 1
    (root / f"{PREFIX}another").mkdir()  # without a lock: not ours
    (root / f"{PREFIX}link").symlink_to(tmp_path)
    running = Shelf(Desk, root)
    kept = opened(running)
    assert not left.exists() and (root / f"{PREFIX}another").is_dir() and picture.exists()
    beside = Shelf(Desk, root)
    opened(beside)
    found = running.find(kept)
    assert found is not None and Path(found.draft[0].image.path).is_file()
    running.close()
    beside.close()
    assert sorted(path.name for path in root.iterdir()) == [f"{PREFIX}another", f"{PREFIX}link"]
