"""Quiet ink on paper, made of numbers: hills in mist, a lake, a moon; and the seal. The same seed draws the same picture.

Ink is an amount between 0 and 1 for each pixel, laid on in washes from far and pale to near and dark. Knows no text and no caption.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw

WIDTH, HEIGHT = 1280, 720
PAPER, INK, SEAL, ON_SEAL = (244, 245, 241), (20, 24, 27), (181, 48, 28), (255, 249, 243)  # the page's own colours, by day
TOP = 0.58  # of the height: the ink begins below it, so that there is paper for words
Wash = npt.NDArray[np.floating[Any]]
# The page's seal, in units of 1/30 of its side: 浦 in strokes
_STROKES = (
    ((6.3, 6.7), (7.9, 7.6), (9.2, 8.9)), ((5.0, 12.3), (6.7, 13.2), (8.0, 14.3)), ((5.6, 24.0), (7.6, 20.6), (9.2, 16.9)),
    ((11.2, 8.2), (25.4, 8.2)), ((12.7, 12.6), (12.7, 24.3)), ((12.7, 12.6), (23.7, 12.6), (23.7, 23.0), (22.9, 24.0), (21.0, 23.9)),
    ((12.7, 16.3), (23.7, 16.3)), ((12.7, 20.0), (23.7, 20.0)), ((18.2, 5.0), (18.2, 24.3)), ((21.4, 4.6), (23.3, 6.1)),
)  # fmt: skip
_SMOOTH = 4  # the seal is drawn so many times larger and made smaller


@dataclass(frozen=True, slots=True)
class Ground:
    """Where each pixel is, and a cloud of grey between -1 and 1 that no two drawings share."""

    draw: random.Random
    x: Wash
    y: Wash
    cloud: Wash


def landscape(seed: int) -> PIL.Image.Image:
    """RGB, `WIDTH` x `HEIGHT`: nearly empty above `TOP`."""
    draw = random.Random(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    ground = Ground(draw, x, y, _cloud(draw))
    amount = draw.choice((hills, peak, lake, moon, shore))(ground)
    grain = np.random.default_rng(draw.getrandbits(32)).normal(0, 0.004, amount.shape).astype(np.float32)  # else the washes show steps
    amount = np.clip(amount + grain * (amount > 0.002), 0, 0.96)[..., None]
    colours = np.array(PAPER, np.float32) * (1 - amount) + np.array(INK, np.float32) * amount
    return PIL.Image.fromarray(np.round(colours).astype(np.uint8), "RGB")


def hills(ground: Ground) -> Wash:
    """Three to five ranges, each rising out of the mist at the foot of the one behind it."""
    count = ground.draw.randint(3, 5)
    amount = _nothing(ground)
    for at in range(count):
        near = (at + 1) / count
        amount = _range(ground, HEIGHT * (TOP + 0.1 + 0.26 * at / count), 30 + 26 * near, 0.1 + 0.5 * near**1.8, amount)
    return amount


def peak(ground: Ground) -> Wash:
    """One mountain to the right, hills before it."""
    centre, wide = WIDTH * ground.draw.uniform(0.7, 0.82), WIDTH * ground.draw.uniform(0.12, 0.18)
    rough = _ridge(ground.draw, 60)
    height = HEIGHT * ground.draw.uniform(0.26, 0.34) * np.exp(-(np.abs((ground.x[0] - centre) / wide) ** 1.35))
    line = HEIGHT * 0.88 - height + rough * (14 + height * 0.12)
    amount = _before(_range(ground, HEIGHT * (TOP + 0.18), 26, 0.1, _nothing(ground)), ground, line, 0.5, 150)
    return _range(ground, HEIGHT * 0.93, 24, 0.55, amount)


def lake(ground: Ground) -> Wash:
    """Far hills, their reflection, and a few strokes of water."""
    level = HEIGHT * ground.draw.uniform(0.74, 0.79)
    line = level - 18 - np.abs(_ridge(ground.draw, 90)) * 74
    whole = _wash(ground, line, 0.38, 64)
    above = whole * (ground.y < level)
    rows = np.clip((level - 1.3 * (ground.y[:, 0] - level)).astype(int), 0, HEIGHT - 1)
    below = whole[rows] * (ground.y >= level) * 0.42 * np.exp(-(ground.y - level) / 90)
    amount = above + below
    for _ in range(ground.draw.randint(7, 11)):
        amount = _over(amount, _stroke(ground, level))
    return _range(ground, HEIGHT * 0.985, 18, 0.5, amount)


def moon(ground: Ground) -> Wash:
    """A moon left white in a wash, over low hills."""
    x, y, radius = WIDTH * ground.draw.uniform(0.8, 0.86), HEIGHT * ground.draw.uniform(0.42, 0.52), ground.draw.uniform(62, 84)
    away = np.hypot(ground.x - x, ground.y - y) - radius
    halo = _edge(away / 2.5) * 0.2 * np.exp(-np.maximum(away, 0) / 120) * (1 + 0.5 * ground.cloud)
    amount = _range(ground, HEIGHT * (TOP + 0.2), 34, 0.22, halo)
    return _range(ground, HEIGHT * (TOP + 0.32), 30, 0.55, amount)


def shore(ground: Ground) -> Wash:
    """A bank that comes in from one side, reeds on it, and much water."""
    slope = ground.draw.uniform(0.10, 0.16) * ground.draw.choice((-1, 1))
    line = HEIGHT * 0.86 + slope * (ground.x[0] - WIDTH / 2) + _ridge(ground.draw, 70) * 16
    amount = _before(_range(ground, HEIGHT * (TOP + 0.13), 22, 0.13, _nothing(ground)), ground, line, 0.6, 110)
    for _ in range(ground.draw.randint(9, 16)):
        near = ground.draw.gauss(0.17 if slope < 0 else 0.83, 0.07)
        root = min(max(near, 0.02), 0.98) * WIDTH
        amount = _over(amount, _reed(ground, root, float(line[int(root)]) + 10))
    return amount


def stamp(picture: PIL.Image.Image, left: int, top: int, side: int) -> None:
    """The seal, onto an RGB picture."""
    large = PIL.Image.new("RGB", (side * _SMOOTH,) * 2, SEAL)
    draw, unit = PIL.ImageDraw.Draw(large), side * _SMOOTH / 30
    for stroke in _STROKES:
        draw.line([(x * unit, y * unit) for x, y in stroke], ON_SEAL, round(1.5 * unit), joint="curve")
    shape = PIL.Image.new("L", large.size)
    PIL.ImageDraw.Draw(shape).rounded_rectangle((unit, unit, 29 * unit, 29 * unit), 2.4 * unit, 255)
    picture.paste(large.resize((side, side), PIL.Image.Resampling.LANCZOS), (left, top), shape.resize((side, side)))


def _nothing(ground: Ground) -> Wash:
    return np.zeros_like(ground.x)


def _over(below: Wash, above: Wash) -> Wash:
    """One wash on another: ink on ink gets darker, never more than black."""
    return 1 - (1 - below) * (1 - above)


def _edge(distance: Wash) -> Wash:
    """0 before a line, 1 behind it, over about two units."""
    return np.clip(distance * 0.5 + 0.5, 0, 1)


def _range(ground: Ground, base: float, rise: float, tone: float, behind: Wash) -> Wash:
    return _before(behind, ground, base + _ridge(ground.draw, 110) * rise, tone, 60 + 1.4 * rise)


def _before(behind: Wash, ground: Ground, line: Wash, tone: float, fade: float) -> Wash:
    """A wash that hides most of what is behind it, as mist at the foot of a hill does."""
    hidden = 0.85 * _edge((ground.y - line[None, :]) / 1.4)
    return _over(behind * (1 - hidden), _wash(ground, line, tone, fade))


def _wash(ground: Ground, line: Wash, tone: float, fade: float) -> Wash:
    """Ink below `line` (a height for each column), darkest at the line and gone after about `fade` pixels."""
    depth = ground.y - line[None, :]
    return _edge(depth / 1.4) * tone * np.exp(-np.maximum(depth, 0) / fade) * np.clip(1 + 0.55 * ground.cloud, 0.2, 1.6)


def _stroke(ground: Ground, level: float) -> Wash:
    """A thin horizontal line of water that begins and ends in nothing."""
    draw = ground.draw
    y = level + (HEIGHT - level) * draw.uniform(0.08, 0.75)
    x, long, thick = WIDTH * draw.uniform(0.05, 0.95), WIDTH * draw.uniform(0.04, 0.13), draw.uniform(0.8, 1.8)
    across = np.exp(-(((ground.y - y - 1.5 * np.sin(ground.x / 40)) / thick) ** 2))
    return across * draw.uniform(0.14, 0.34) * np.exp(-(((ground.x - x) / long) ** 4))


def _reed(ground: Ground, root: float, foot: float) -> Wash:
    draw = ground.draw
    tall, lean, thick = draw.uniform(60, 150), draw.uniform(-50, 50), draw.uniform(1.0, 1.9)
    up = np.clip((foot - ground.y) / tall, 0, 1)
    middle = root + lean * up**2
    inside = (ground.y < foot) & (ground.y > foot - tall)
    return np.exp(-(((ground.x - middle) / (thick * (1.15 - up))) ** 2)) * inside * draw.uniform(0.3, 0.62)


def _ridge(draw: random.Random, longest: float) -> Wash:
    """A line that goes up and down, about -1 to 1 for each column: slow and large, and ever faster and smaller."""
    x = np.arange(WIDTH, dtype=np.float32)
    line = np.zeros(WIDTH, np.float32)
    length, height = longest * 4.0, 1.0
    for _ in range(7):
        knots = np.array([draw.uniform(-1, 1) for _ in range(int(WIDTH / length) + 4)], np.float32)
        line += height * _between(knots, x / length + draw.random())
        length, height = length / 2, height * 0.46
    return line


def _between(knots: Wash, at: Wash) -> Wash:
    first = np.minimum(at.astype(int), len(knots) - 2)
    part = at - first
    part = part * part * (3 - 2 * part)
    return knots[first] * (1 - part) + knots[first + 1] * part


def _cloud(draw: random.Random) -> Wash:
    """Soft blotches, as wet paper makes them."""
    numbers = np.random.default_rng(draw.getrandbits(32))
    cloud = np.zeros((HEIGHT, WIDTH), np.float32)
    for across, share in ((5, 0.5), (13, 0.3), (34, 0.2)):
        small = PIL.Image.fromarray(numbers.uniform(-1, 1, (max(3, across * 9 // 16), across)).astype(np.float32))
        cloud += share * np.asarray(small.resize((WIDTH, HEIGHT), PIL.Image.Resampling.BICUBIC), np.float32)
    return cloud
