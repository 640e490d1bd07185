"""The colours a picture is made of, by name: each pixel counts for the named colour that looks nearest to it.

Deterministic: no clustering and no chance. Nearness is distance in CIELAB, where equal steps look about equally different.
Knows no file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import PIL.Image

SIDE = 128  # pixels are counted in a copy this small
LEAST = 0.03  # of the picture, below which a colour is not worth a word
MOST = 6
NAMED = {  # pure colours of screens once more beside those that people paint with: nothing else is near them
    (255, 0, 0): ("red", "红色"), (0, 255, 0): ("green", "绿色"), (0, 0, 255): ("blue", "蓝色"),
    (255, 255, 0): ("yellow", "黄色"), (0, 255, 255): ("turquoise", "青绿色"), (255, 0, 255): ("magenta", "品红色"),
    (0, 0, 0): ("black", "黑色"), (64, 64, 64): ("dark grey", "深灰色"), (128, 128, 128): ("grey", "灰色"),
    (200, 200, 200): ("light grey", "浅灰色"), (255, 255, 255): ("white", "白色"), (205, 30, 35): ("red", "红色"),
    (120, 15, 25): ("dark red", "深红色"), (245, 160, 185): ("pink", "粉色"), (240, 130, 30): ("orange", "橙色"),
    (110, 70, 40): ("brown", "棕色"), (60, 40, 28): ("dark brown", "深棕色"), (176, 136, 100): ("light brown", "浅棕色"),
    (228, 208, 175): ("beige", "米色"), (245, 215, 40): ("yellow", "黄色"), (118, 118, 45): ("olive", "橄榄色"),
    (50, 155, 60): ("green", "绿色"), (22, 75, 40): ("dark green", "深绿色"), (150, 212, 132): ("light green", "浅绿色"),
    (20, 125, 125): ("teal", "青色"), (75, 205, 210): ("turquoise", "青绿色"), (152, 198, 238): ("light blue", "浅蓝色"),
    (35, 95, 205): ("blue", "蓝色"), (20, 35, 95): ("dark blue", "深蓝色"), (115, 55, 155): ("purple", "紫色"),
    (190, 160, 215): ("lilac", "淡紫色"), (210, 40, 140): ("magenta", "品红色"),
}  # fmt: skip
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # from linear sRGB (IEC 61966-2-1)
_WHITE = np.array([0.9505, 1.0, 1.089])  # D65
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Colour:
    """`english` and `chinese` are its names; `rgb` is the mean of its pixels, `share` their part of the whole picture."""

    english: str
    chinese: str
    rgb: tuple[int, int, int]
    share: float

    @property
    def hex(self) -> str:
        return "#" + bytes(self.rgb).hex()


def colours_of(picture: PIL.Image.Image) -> tuple[tuple[Colour, ...], float]:
    """The main colours of an RGBA picture, most of it first, and how much of it is clear."""
    tiny = picture.copy()
    tiny.thumbnail((SIDE, SIDE), PIL.Image.Resampling.BOX)
    pixels = np.asarray(tiny).reshape(-1, 4)
    solid = pixels[pixels[:, 3] >= 128, :3]
    names = list(dict.fromkeys(NAMED.values()))
    nearest = _nearest(_lab(solid), _lab(np.array(list(NAMED))))
    nearest = np.array([names.index(name) for name in NAMED.values()])[nearest]
    counts = np.bincount(nearest, minlength=len(names))
    found = []
    for place in np.argsort(-counts, kind="stable")[:MOST]:
        share = float(counts[place]) / len(pixels)
        if counts[place] and share >= LEAST:
            red, green, blue = (round(float(mean)) for mean in solid[nearest == place].mean(0))
            found.append(Colour(*names[int(place)], (red, green, blue), share))
    return tuple(found), 1 - len(solid) / len(pixels)


def _nearest(lab: Floats, names: Floats) -> npt.NDArray[np.intp]:
    found: npt.NDArray[np.intp] = ((lab[:, None] - names[None]) ** 2).sum(-1).argmin(-1)
    return found


def _lab(rgb: npt.NDArray[np.generic]) -> Floats:
    """[n, 3] of sRGB in 0 to 255 -> [n, 3] of CIELAB. Source: CIE 15, and IEC 61966-2-1 for the gamma."""
    values = rgb.astype(np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ.T / _WHITE
    cube = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * cube[:, 1] - 16, 500 * (cube[:, 0] - cube[:, 1]), 200 * (cube[:, 1] - cube[:, 2])], -1)
