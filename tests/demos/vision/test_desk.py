"""The desk of a conversation: what goes with the next question, in its order, whatever comes at the same time."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.pictures.images import Added, Pictures
from demos.pictures.intake import Limits
from demos.vision import desk as desk_module
from demos.vision import pdf
from demos.vision.desk import Desk
from shared.errors import BadRequest
from shared.messages import DETAILS, Image
from tests.demos.agent.tools import pdf_files
from tests.demos.pictures.samples import animated, corners, saved


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(Pictures(tmp_path / "mine"))


def png(number: int) -> bytes:
    """Another picture for each number: its width."""
    return saved(corners((number, 8)), "PNG")


def widths(desk: Desk) -> list[int]:
    return [one.image.width for one in desk.draft]


def sha(desk: Desk, width: int) -> str:
    return next(one.image.sha256 for one in desk.draft if one.image.width == width)


def files(desk: Desk) -> set[str]:
    return {path.stem for path in Path(desk.pictures._root).glob("*.*")}


def test_pictures_lie_in_the_order_in_which_they_came(desk: Desk) -> None:
    for number in (30, 10, 20):
        desk.add(png(number), f"{number}.png")
    assert widths(desk) == [30, 10, 20] and [one.name for one in desk.draft] == ["30.png", "10.png", "20.png"]
    assert desk.name_of(desk.draft[1].image) == "10.png" and {one.image.detail for one in desk.draft} == {"auto"}


def test_what_was_given_up_is_told_with_it(desk: Desk) -> None:
    desk.add(animated(), "dance.gif")
    assert desk.draft[0].notes == ("first_frame",)


def test_a_twin_stays_where_it_was_first(desk: Desk) -> None:
    for number in (10, 20, 10):
        desk.add(png(number), f"{number}.png")
    assert widths(desk) == [10, 20]


@given(st.permutations([1, 2, 3, 4]), st.integers(-3, 9))
def test_a_move_is_what_a_list_does(order: list[int], to: int) -> None:
    moved = [one for one in order if one != 2]
    moved.insert(max(0, to), 2)
    draft = desk_with(order)
    draft.move("2", to)
    assert [one.image.sha256 for one in draft.draft] == [str(one) for one in moved]
    draft.move("nobody", to)
    assert [one.image.sha256 for one in draft.draft] == [str(one) for one in moved]


def desk_with(order: list[int]) -> Desk:
    """No files: moving needs none."""
    desk = Desk(Pictures(Path("/nowhere")))
    desk._draft = tuple(Added(Image(f"/{one}", str(one), 1, 1)) for one in order)
    return desk


# ---- what goes, what stays ---------------------------------------------------------------------------------------------------


def test_a_picture_that_no_question_took_goes_for_good(desk: Desk) -> None:
    desk.add(png(10), "a.png")
    image = desk.draft[0].image
    small = desk.pictures.thumbnail(image)
    desk.remove(image.sha256)
    assert desk.draft == () and not Path(image.path).exists() and not small.exists()
    desk.remove(image.sha256)
    desk.remove("../../etc/passwd")


def test_one_that_was_sent_stays_with_its_question(desk: Desk) -> None:
    desk.add(png(10), "a.png")
    image = desk.draft[0].image
    desk.taken([image])
    assert desk.draft == ()
    desk.add(png(10), "again.png")
    desk.remove(image.sha256)
    assert desk.draft == () and desk.pictures.find(image.sha256) == image


def test_adding_and_removing_fills_nothing(tmp_path: Path) -> None:
    desk = Desk(Pictures(tmp_path / "few", Limits(conversation=2)))
    for number in range(10, 20):
        desk.add(png(number))
        desk.remove(sha(desk, number))
    assert files(desk) == set()


def test_what_was_taken_back_comes_first_and_once(desk: Desk) -> None:
    for number in (10, 20):
        desk.add(png(number), f"{number}.png")
    desk.look("high")
    sent = [one.image for one in desk.draft]
    desk.taken(sent)
    desk.add(png(30), "30.png")
    desk.add(png(20), "20.png")
    desk.look("low")
    desk.put_back(sent)
    assert widths(desk) == [10, 20, 30] and [one.name for one in desk.draft] == ["10.png", "20.png", "30.png"]
    assert {one.image.detail for one in desk.draft} == {"low"}


def test_what_is_gone_is_not_taken_back(desk: Desk) -> None:
    desk.add(png(10))
    sent = [one.image for one in desk.draft]
    desk.taken(sent)
    Path(sent[0].path).unlink()
    desk.put_back(sent)
    assert desk.draft == ()


# ---- limits ------------------------------------------------------------------------------------------------------------------


def test_a_question_takes_so_many_and_the_next_one_again(tmp_path: Path) -> None:
    desk = Desk(Pictures(tmp_path / "few", Limits(turn=2)))
    desk.add(png(10))
    desk.add(png(20))
    with pytest.raises(BadRequest, match="These are 3 pictures; a message takes 2"):
        desk.add(png(30))
    with pytest.raises(BadRequest, match="These are 3 pictures"):
        desk.crop(desk.draft[0].image, (0, 0, 0.5, 0.5))
    assert widths(desk) == [10, 20] and len(files(desk)) == 2
    desk.taken([one.image for one in desk.draft])
    desk.add(png(30))
    assert widths(desk) == [30]


@pytest.mark.parametrize("content", [b"", b"no picture", saved(corners(), "PNG")[:40], b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_a_file_that_is_refused_changes_nothing(desk: Desk, content: bytes) -> None:
    desk.add(png(10))
    with pytest.raises(BadRequest, match=r"“x\.png”"):
        desk.add(content, "x.png")
    assert widths(desk) == [10] and len(files(desk)) == 1


def test_sixty_at_once_by_many_threads(desk: Desk) -> None:
    """The limit holds, nothing that was taken is lost, and of what was refused no file stays."""

    def add(number: int) -> bool:
        try:
            desk.add(png(number))
        except BadRequest:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        taken = list(pool.map(add, range(10, 70)))
    assert sum(taken) == len(desk.draft) == desk.pictures.limits.turn
    assert sorted(widths(desk)) == [number for number, there in zip(range(10, 70), taken, strict=True) if there]
    assert files(desk) == {one.image.sha256 for one in desk.draft}


def test_an_unknown_detail_is_refused(desk: Desk) -> None:
    desk.add(png(10))
    for detail in DETAILS:
        desk.look(detail)
        assert desk.detail == desk.draft[0].image.detail == detail
    with pytest.raises(BadRequest, match="no detail 'huge'"):
        desk.look("huge")
    assert desk.detail == DETAILS[-1]


# ---- parts -------------------------------------------------------------------------------------------------------------------


def test_a_part_is_a_picture_of_its_own(desk: Desk) -> None:
    desk.add(saved(corners((100, 80)), "PNG"), "whole.png")
    desk.crop(desk.draft[0].image, (0.5, 0.5, 1, 1), "the cat")
    part = desk.draft[1]
    assert (part.image.width, part.image.height, part.name) == (50, 40, "the cat")


@pytest.mark.parametrize("box", [(0.5, 0, 0.5, 1), (0, 0, 2, 1), (-1, 0, 1, 1), (float("nan"), 0, 1, 1), (0, 0, float("inf"), 1)])
def test_no_part_without_a_frame(desk: Desk, box: tuple[float, float, float, float]) -> None:
    desk.add(png(40))
    with pytest.raises(BadRequest, match="nothing inside that frame"):
        desk.crop(desk.draft[0].image, box)
    assert widths(desk) == [40]


# ---- a PDF -------------------------------------------------------------------------------------------------------------------


def held(desk: Desk) -> int:
    return len(list(Path(desk.pictures._root).glob("*.held")))


def test_a_pdf_is_opened_and_its_pages_are_chosen(desk: Desk) -> None:
    desk.add(png(10), "a.png")
    desk.add(pdf_files.texts("one", "two", "three"), "notes.pdf")
    assert desk.pdf is not None and (desk.pdf.name, desk.pdf.count) == ("notes.pdf", 3) and widths(desk) == [10] and held(desk) == 1
    desk.add_pages([3, 1])
    assert [one.name for one in desk.draft] == ["a.png", "notes.pdf #3", "notes.pdf #1"] and desk.pdf is None and held(desk) == 0


def test_a_second_pdf_takes_the_first_one_s_place(desk: Desk) -> None:
    """And its room in the folder."""
    for name in ("one", "two", "two"):
        desk.add(pdf_files.texts(name), f"{name}.pdf")
    assert desk.pdf is not None and desk.pdf.name == "two.pdf" and held(desk) == 1
    desk.close_pdf()
    desk.close_pdf()
    assert desk.pdf is None and held(desk) == 0


def test_no_pages_without_a_pdf_and_none_that_it_has_not(desk: Desk) -> None:
    with pytest.raises(BadRequest, match="no PDF open"):
        desk.add_pages([1])
    desk.add(pdf_files.texts("one"), "notes.pdf")
    for wrong, told in (([], "No page is chosen"), ([2], "no page 2"), ([0], "no page 0"), ([1] * 21, "21 pictures")):
        with pytest.raises(BadRequest, match=told):
            desk.add_pages(wrong)
    assert desk.pdf is not None and desk.draft == ()
    desk.add_pages([1])
    assert len(desk.draft) == 1


def test_all_pages_or_none_and_no_files_of_those_that_could_be_drawn(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.add(pdf_files.bomb(), "notes.pdf")
    monkeypatch.setattr(pdf, "MEMORY", 300 << 20)
    with pytest.raises(BadRequest, match="Page 2"):
        desk.add_pages([1, 2])
    assert desk.draft == () and files(desk) == {path.stem for path in Path(desk.pictures._root).glob("*.held")}
    desk.add_pages([1])
    with_it = desk.draft
    desk.add(pdf_files.bomb(), "notes.pdf")
    with pytest.raises(BadRequest, match="Page 2"):
        desk.add_pages([1, 2])
    assert desk.draft == with_it and Path(with_it[0].image.path).is_file()


def test_a_broken_pdf_leaves_the_open_one(desk: Desk) -> None:
    desk.add(pdf_files.texts("one"), "good.pdf")
    with pytest.raises(BadRequest, match=r"“bad\.pdf”"):
        desk.add(b"%PDF-1.7\nnothing", "bad.pdf")
    assert desk.pdf is not None and desk.pdf.name == "good.pdf" and held(desk) == 1


# ---- at the same time --------------------------------------------------------------------------------------------------------


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_many_threads_lose_nothing(tmp_path_factory: pytest.TempPathFactory, chance: random.Random) -> None:
    """Half of them add pictures and remove them again, half only add: theirs all lie there, with their files."""
    desk = Desk(Pictures(tmp_path_factory.mktemp("desk") / "mine"))
    kept, left = list(range(10, 20)), list(range(30, 38))

    def keep(number: int) -> None:
        desk.add(png(number), str(number))

    def leave(number: int) -> None:
        desk.add(png(number), str(number))
        desk.move(sha(desk, number), 0)
        desk.remove(sha(desk, number))

    work = [*((keep, number) for number in kept), *((leave, number) for number in left)]
    chance.shuffle(work)
    with ThreadPoolExecutor(8) as pool:
        for job in [pool.submit(act, number) for act, number in work]:
            job.result(60)
    assert sorted(widths(desk)) == kept and files(desk) == {one.image.sha256 for one in desk.draft}


def test_a_twin_added_while_it_is_removed_is_there_whole_or_not_at_all(desk: Desk) -> None:
    content = png(10)
    image = desk.pictures.add(content).image

    def add(_: int) -> None:
        desk.add(content)

    def remove(_: int) -> None:
        desk.remove(image.sha256)

    with ThreadPoolExecutor(8) as pool:
        for job in [pool.submit(add if at % 2 else remove, at) for at in range(200)]:
            job.result(60)
    assert all(Path(one.image.path).is_file() for one in desk.draft) and len(desk.draft) <= 1


def test_names_do_not_grow_for_ever(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "MOST_NAMES", 3)
    for number in range(10, 20):
        desk.add(png(number), f"{number}.png")
        desk.remove(sha(desk, number))
    assert list(desk._names.values()) == ["17.png", "18.png", "19.png"]


def test_a_desk_that_was_closed_takes_nothing(desk: Desk) -> None:
    desk.add(png(10))
    desk.pictures.remove()
    with pytest.raises(BadRequest, match="was closed"):
        desk.add(png(20))
