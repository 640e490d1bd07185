"""Clip art: a small folder of drawings made here, drawn by the real renderer where it is installed, and by ones that misbehave."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path

import PIL.Image
import pytest

from demos.pictures.images import Pictures
from demos.pictures.intake import Limits
from demos.writing.similarity import words
from demos.writing.sources import clipart
from demos.writing.sources.clipart import FOLDER, RENDERER, SMALLEST, ClipArt
from demos.writing.sources.clipart_index import Index, read
from demos.writing.sources.source import Around, Wanted
from models.download import Store
from models.registry import Registry
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, ModelUnavailable
from tests.servers import Served, Server

FREE = "http://web.resource.org/cc/PublicDomain"
needs_renderer = pytest.mark.skipif(shutil.which(RENDERER) is None, reason="drawings are drawn by rsvg-convert of librsvg2-bin")
METADATA = """<metadata><rdf:RDF xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><cc:Work rdf:about=""><dc:title>{title}</dc:title>
<dc:description>{note}</dc:description><dc:subject><rdf:Bag><rdf:li></rdf:li>{keywords}</rdf:Bag></dc:subject>
<dc:publisher><cc:Agent rdf:about="http://www.openclipart.org/"><dc:title>Open Clip Art Project</dc:title></cc:Agent></dc:publisher>
<dc:creator><cc:Agent><dc:title>{author}</dc:title></cc:Agent></dc:creator>
<cc:license rdf:resource="{licence}"/></cc:Work></rdf:RDF></metadata>"""
DRAWN = '<rect x="40" y="40" width="80" height="40" fill="#c00"/>'


def svg(
    title: str = "", *, keywords: tuple[str, ...] = (), author: str = "Jane Doe", licence: str = FREE, note: str = "", drawn: str = DRAWN,
    head: str = '<?xml version="1.0" encoding="UTF-8"?>',
) -> bytes:  # fmt: skip
    bag = "".join(f"<rdf:li>{word}</rdf:li>" for word in keywords)
    metadata = METADATA.format(title=title, keywords=bag, author=author, licence=licence, note=note)
    space = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'{head}<svg {space} width="200" height="200" viewBox="0 0 200 200">{metadata}{drawn}</svg>'.encode()


def collection(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def titles(folder: Path, text: str) -> list[str]:
    return [drawing.title for drawing in Index(folder, Cancel()).search(text)]


def source_of(place: Path, name: str = RENDERER, time: float = 15.0) -> type[ClipArt]:
    class Here(ClipArt):
        folder = place
        renderer = name
        seconds = time

    return Here


def around(folder: Path, limits: Limits = Limits()) -> Around:
    return Around(Pictures(folder / "pictures", limits), Registry([], files=Store(folder)))


def wanted(query: str = "apple", count: int = 4, caption: str = "") -> Wanted:
    return Wanted(query, caption, "en", count)


def renderer(folder: Path, body: str) -> str:
    """A program in the renderer's place."""
    if sys.platform == "win32":
        pytest.skip("a script is no program there")
    path = folder / "renderer"
    path.write_text(f"#!/bin/sh\n{body}\n", "utf-8")
    path.chmod(0o755)
    return str(path)


@needs_renderer
def test_a_drawing_comes_cut_to_what_is_drawn_with_its_author(tmp_path: Path) -> None:
    folder = collection(tmp_path / "clip", {"food/fruit/apple_jane_do_01.svg": svg("Red Apple", keywords=("fruit", "red_fruit"))})
    (one,) = source_of(folder)(around(tmp_path)).find(wanted(), Cancel())
    assert (one.alt, one.words) == ("Red Apple", "fruit, red fruit")
    credit = one.credit
    assert (credit.title, credit.author, credit.licence, credit.source) == (
        "Red Apple",
        "Jane Doe",
        "Public domain",
        "Open Clip Art Library",
    )
    assert credit.link.startswith("https://") and credit.licence_link.startswith("https://creativecommons.org/")
    with PIL.Image.open(one.image.path) as picture:
        assert picture.mode == "RGB" and picture.width > 1.5 * picture.height and picture.width < 600
        assert picture.getpixel((picture.width // 2, picture.height // 2)) == (204, 0, 0)
        assert picture.getpixel((2, 2)) == (255, 255, 255)


@needs_renderer
def test_what_cannot_be_drawn_or_is_empty_or_tiny_makes_way(tmp_path: Path) -> None:
    files = {
        "apple1.svg": svg("apple one", drawn=""),
        "apple2.svg": svg("apple two", drawn='<rect width="200" height="200" fill="white"/>'),
        "apple3.svg": svg("apple three", drawn='<rect x="9" y="9" width="2" height="2"/>'),
        "apple4.svg": svg("apple four", drawn="<unclosed>"),
        "apple5.svg": svg("apple five")[:-9],
        "apple6.svg": svg("apple six", drawn=f"{DRAWN}<desc>{'x' * (5 << 20)}</desc>"),
        "apple7.svg": svg("apple seven"),
    }
    found = source_of(collection(tmp_path / "clip", files))(around(tmp_path)).find(wanted(), Cancel())
    assert [one.alt for one in found] == ["apple seven"]
    assert min(found[0].image.width, found[0].image.height) >= SMALLEST


@needs_renderer
def test_a_drawing_fetches_and_opens_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "clip" / "secret.png"
    with Server({"/x.png": Served(b"x"), "/x.css": Served(b""), "/x.dtd": Served(b"")}) as server:
        reaching = f"""<style>@import url("{server.url}/x.css");</style><image xlink:href="{server.url}/x.png" width="200" height="200"/>
            <image xlink:href="{secret.as_uri()}" width="200" height="200"/><image xlink:href="{secret}" width="200" height="200"/>
            <image xlink:href="secret.png" width="200" height="200"/>{DRAWN}"""
        doctype = (
            f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY e SYSTEM "{secret.as_uri()}"> %p; <!ENTITY % p SYSTEM "{server.url}/x.dtd">]>'
        )
        plain_doctype = f'<?xml version="1.0"?><!DOCTYPE svg SYSTEM "{server.url}/x.dtd">'
        files = {
            "apple1.svg": svg("apple one", drawn=reaching),
            "apple2.svg": svg("apple two", head=doctype, drawn=f"<text>&e;</text>{DRAWN}"),
            "apple3.svg": svg("apple three", head=plain_doctype),
        }
        folder = collection(tmp_path / "clip", files)
        PIL.Image.new("RGB", (50, 50), "#00f").save(secret)
        found = source_of(folder)(around(tmp_path)).find(wanted(), Cancel())
        assert "apple one" in [one.alt for one in found] and server.requests == []
    for one in found:
        with PIL.Image.open(one.image.path) as picture:
            assert picture.getpixel((picture.width // 2, picture.height // 2)) == (204, 0, 0)


@needs_renderer
def test_a_drawing_that_grows_without_end_is_given_up(tmp_path: Path) -> None:
    """A billion laughs in entities, and in references."""
    levels = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    laughs = f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a0 "ha">{levels}]>'
    copies = "".join(f'<g id="g{n}">{f"""<use xlink:href="#g{n - 1}"/>""" * 10}</g>' for n in range(1, 10))
    files = {
        "apple1.svg": svg("apple one", head=laughs, drawn="<text>&a9;</text>"),
        "apple2.svg": svg("apple two", drawn=f'<g id="g0">{DRAWN}</g>{copies}'),
        "apple3.svg": svg("apple three"),
    }
    folder = collection(tmp_path / "clip", files)
    found = source_of(folder, time=5.0)(around(tmp_path)).find(wanted(), Cancel())
    assert "apple three" in [one.alt for one in found]


def test_only_drawings_in_the_public_domain_are_known(tmp_path: Path) -> None:
    files = {
        "apple1.svg": svg("apple one"),
        "apple2.svg": svg("apple two", licence="http://creativecommons.org/licenses/publicdomain/"),
        "apple3.svg": svg("apple three", licence="http://creativecommons.org/licenses/GPL/2.0/"),
        "apple4.svg": svg("apple four", licence=""),
        "apple5.svg": svg("apple five").replace(b"<cc:license", b"<cc:other"),
        "apple6.svg": svg("apple six").replace(b"</cc:Work>", b'<cc:license rdf:resource="http://example.com/all-rights"/></cc:Work>'),
        "apple7.svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "apple8.svg": svg("apple eight", licence="http://example.com/http://web.resource.org/cc/PublicDomain"),
    }
    assert titles(collection(tmp_path, files), "apple") == ["apple one", "apple two"]


def test_a_title_is_believed_where_name_folder_or_keywords_agree(tmp_path: Path) -> None:
    files = {
        "plants/mushroom.svg": svg("Clipart by Nicu Buculei - bee", author="Nicu Buculei", keywords=("plant",)),
        "animals/bugs/bee.svg": svg("Clipart by Nicu Buculei - bee", author="Nicu Buculei"),
        "animals/bugs/zanzara_architetto_franc_01.svg": svg("Zanzara", author="Architetto Francesco Rollandin", keywords=("mosquito",)),
        "tools/key_2.svg": svg("Various Cliparts"),
        "people/grampa_39_n_gramma_02.svg": svg("Grampa&amp;#39;n Gramma"),
        "people/42.svg": svg("AIGA_Symbol_Signs"),
    }
    folder = collection(tmp_path, files)
    assert titles(folder, "bee") == ["bee"] and titles(folder, "mushroom") == ["mushroom"]
    assert titles(folder, "mosquitoes or bees on plants") == ["bee", "mushroom"]
    assert titles(folder, "key") == ["key"] and titles(folder, "architetto") == [] and titles(folder, "clipart") == []
    assert titles(folder, "gramma") == ["Grampa'n Gramma"] and titles(folder, "people") == ["42", "Grampa'n Gramma"]


def test_icons_shapes_and_links_are_passed_over(tmp_path: Path) -> None:
    passed = [
        "shapes/stars/apple.svg",
        "computer/icons/flat-theme/apple.svg",
        "special/patterns/apple.svg",
        "buttons/apple.svg",
        "logos/apple.svg",
    ]
    folder = collection(tmp_path / "clip", {name: svg("apple") for name in [*passed, "computer/apple.svg"]})
    collection(tmp_path, {"outside.svg": svg("outside apple")})
    (folder / "outside_apple.svg").symlink_to(tmp_path / "outside.svg")
    (folder / "folder_apple.svg").mkdir()
    assert len(Index(folder, Cancel())) == 1 and titles(folder, "apple") == ["apple"]


def test_the_best_come_first_and_variants_once(tmp_path: Path) -> None:
    files = {
        "food/pie.svg": svg("Pie"), "food/apple_pie.svg": svg("Apple Pie"), "food/apple_pie_bw.svg": svg("Apple Pie (B and W)"),
        "food/apple_2.svg": svg("apple 2"), "food/apple_3.svg": svg("apple 3"), "food/cake.svg": svg("Cake", note="like a pie"),
        **{f"tools/tool_{n}.svg": svg(f"tool {n}") for n in range(20)},
    }  # fmt: skip
    found = titles(collection(tmp_path, files), "The apple pies")
    assert found[0] == "Apple Pie" and set(found) == {"Apple Pie", "apple 2", "Pie"}


@pytest.mark.parametrize(
    "text", ["", "the of a", "苹果", "xylophone", "vaccines protect all small grey elephants like an apple", "../../etc"]
)
def test_words_that_name_nothing_here_find_nothing(tmp_path: Path, text: str) -> None:
    folder = collection(tmp_path, {"apple.svg": svg("apple"), "pear.svg": svg("pear"), "etc.svg": svg("x", licence="")})
    assert titles(folder, text) == [] and titles(tmp_path / "none", "apple") == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"<metadata", b"</metadata><metadata>", b"<svg><metadata><a></b></metadata></svg>", svg("&undeclared;"), svg("x" * 70_000),
        svg("apple", head='<?xml version="1.0" encoding="utf-7"?>'), svg("apple").replace(b"apple", b"\xff\xfe"),
        svg("apple").replace(b"<metadata>", b'<metadata><!DOCTYPE x [<!ENTITY e "y">]>'),
    ],
)  # fmt: skip
def test_metadata_that_cannot_be_read_are_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "apple.svg"
    path.write_bytes(content)
    assert read(path) is None and read(tmp_path / "gone.svg") is None


def test_names_are_read_in_the_encoding_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "apple.svg"
    path.write_bytes(svg("Café").decode().replace("UTF-8", "iso-8859-1").encode("latin-1"))
    told = read(path)
    assert told is not None and told.title == "Café"


def test_texts_of_a_drawing_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "apple.svg"
    path.write_bytes(svg("A\n\u202e apple", author="&lt;script&gt;\n" + "x" * 5000, keywords=(" ", "red\nfruit")))
    told = read(path)
    assert told is not None and told.title == "A apple" and told.keywords == ("red fruit",)
    assert told.author.startswith("<script> x") and len(told.author) <= 2000


def test_the_folder_is_read_once_and_not_kept_when_stopped(tmp_path: Path) -> None:
    folder = collection(tmp_path / "clip", {"apple.svg": svg("apple")})
    stopped = Cancel()
    stopped.set()
    with pytest.raises(Cancelled):
        clipart._index(folder, stopped)
    first = clipart._index(folder, Cancel())
    collection(folder, {"pear.svg": svg("pear")})
    assert clipart._index(folder, Cancel()) is first and len(first) == 1


def test_what_it_lacks(tmp_path: Path) -> None:
    there = around(tmp_path)
    assert source_of(tmp_path / "none", "sh").lacks(there) == "writing.lacks_clipart"
    assert source_of(tmp_path, "no-such-renderer").lacks(there) == "writing.lacks_clipart"
    assert source_of(tmp_path, renderer(tmp_path, "true")).lacks(there) == ""
    assert (ClipArt.id, ClipArt.leases) == ("clipart", False)


def test_a_renderer_that_is_gone_is_said(tmp_path: Path) -> None:
    folder = collection(tmp_path / "clip", {"apple.svg": svg("apple")})
    with pytest.raises(ModelUnavailable, match="cannot be started") as raised:
        source_of(folder, str(tmp_path / "gone"))(around(tmp_path)).find(wanted(), Cancel())
    assert "librsvg2-bin" in raised.value.remedy


@pytest.mark.parametrize("body", ["exit 1", "echo no picture", "cat", "exec sleep 60", "exec <&-; exec sleep 60"])
def test_a_renderer_that_makes_no_picture_or_never_ends(tmp_path: Path, body: str) -> None:
    folder = collection(tmp_path / "clip", {"apple.svg": svg("apple", drawn=f"<desc>{'x' * 200_000}</desc>")})
    assert source_of(folder, renderer(tmp_path, body), time=0.3)(around(tmp_path)).find(wanted(), Cancel()) == ()


def test_stop_ends_the_renderer(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    folder = collection(tmp_path / "clip", {"apple.svg": svg("apple")})
    source, cancel = source_of(folder, renderer(tmp_path, f"touch '{begun}'; exec sleep 600"), time=600.0)(around(tmp_path)), Cancel()

    def stop() -> None:
        while not begun.exists():
            threading.Event().wait(0.02)
        cancel.set()

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(Cancelled):
        source.find(wanted(), cancel)


@needs_renderer
def test_no_more_than_wanted_the_same_picture_once_and_no_room_is_said(tmp_path: Path) -> None:
    drawn = '<circle cx="100" cy="100" r="{}" fill="green"/>'
    names = ["old", "new", "red", "big"]
    files = {f"{name}_apple.svg": svg(f"{name} apple", drawn=drawn.format(50 + n // 2)) for n, name in enumerate(names)}
    source = source_of(collection(tmp_path / "clip", files))
    assert len(source(around(tmp_path)).find(wanted(count=1), Cancel())) == 1
    assert len(source(around(tmp_path)).find(wanted(count=9), Cancel())) == 2
    with pytest.raises(BadRequest, match="keeps 1 pictures"):
        source(around(tmp_path / "clip", Limits(conversation=1))).find(wanted(count=9), Cancel())


@needs_renderer
def test_a_caption_is_looked_for_where_the_query_finds_nothing(tmp_path: Path) -> None:
    folder = collection(tmp_path / "clip", {"apple.svg": svg("apple")})
    assert len(source_of(folder)(around(tmp_path)).find(wanted("苹果", caption="An apple"), Cancel())) == 1


@needs_renderer
@pytest.mark.skipif(not FOLDER.is_dir(), reason="Debian's openclipart-svg is not installed")
@pytest.mark.parametrize("query", ["a cat on a sofa", "apple pie", "bees on flowers", "books in a library", "sailing boat"])
def test_the_collection_of_debian(tmp_path: Path, query: str) -> None:
    assert ClipArt.lacks(around(tmp_path)) == ""
    found = ClipArt(around(tmp_path)).find(wanted(query), Cancel())
    assert len(found) == 4 and all(one.credit.licence == "Public domain" and one.alt for one in found)
    assert set(words(found[0].alt)) & set(words(query))
