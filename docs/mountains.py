"""Paint `demos/assets/mountains.webp`: ink ridges as an alpha mask, so the page colours them with its own ink.

    python docs/mountains.py demos/assets/mountains.webp        needs numpy and pillow

Each range is a row of peaks; ink is darkest along its ridge and thins out downwards, where mist lies before the next range.
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image, ImageFilter

WIDTH, HEIGHT, SEED = 1440, 340, 7
# One range a line, far to near: ink at the ridge, depth over which it thins (pixels), roughness, peaks as (centre, height, half-width).
RANGES = (
    (0.30, 120, 5, ((0.08, 0.30, 0.09), (0.62, 0.84, 0.12), (0.86, 0.44, 0.09), (0.36, 0.40, 0.08))),
    (0.44, 110, 5, ((0.16, 0.62, 0.10), (0.47, 0.34, 0.07), (0.70, 0.56, 0.09), (0.94, 0.34, 0.08))),
    (0.58, 96, 4, ((0.25, 0.46, 0.09), (0.06, 0.26, 0.08), (0.56, 0.36, 0.08), (0.80, 0.30, 0.08))),
    (0.74, 84, 4, ((0.33, 0.34, 0.08), (0.74, 0.28, 0.10), (0.12, 0.16, 0.08), (0.50, 0.22, 0.06))),
)


def noise(rng: np.random.Generator, length: int, knots: int) -> np.ndarray:
    """A smooth random curve in -1..1."""
    return np.interp(np.linspace(0, knots - 1, length), np.arange(knots), rng.uniform(-1, 1, knots))


def ridge(rng: np.random.Generator, peaks: tuple[tuple[float, float, float], ...], roughness: float) -> np.ndarray:
    """Height of one range above the ground at every x, in pixels: shoulders that fall steeply at first, then flatten."""
    x = np.linspace(0, 1, WIDTH)
    height = np.zeros(WIDTH)
    for centre, top, half in peaks:
        lean = 1 + 0.35 * np.sign(x - centre) * rng.uniform(-1, 1)
        distance = np.abs(x - centre) / (half * lean)
        height = np.maximum(height, top * np.exp(-(distance**1.45)))
    rough = sum(noise(rng, WIDTH, knots) / divisor for knots, divisor in ((40, 1.0), (110, 2.2), (320, 5.0)))
    return height * HEIGHT * 0.94 + rough * roughness * np.clip(height * 4, 0.1, 1)


def cloud(rng: np.random.Generator) -> np.ndarray:
    """Blots of more and less ink, as in a wet wash: 0.55 to 1."""
    total = np.zeros((HEIGHT, WIDTH))
    for size, weight in ((10, 1.0), (28, 0.6), (80, 0.35)):
        small = Image.fromarray((rng.random((max(3, size // 4), size)) * 255).astype(np.uint8))
        total += weight * np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) / 255
    return 0.55 + 0.45 * (total - total.min()) / np.ptp(total)


def paint() -> Image.Image:
    rng = np.random.default_rng(SEED)
    y = np.arange(HEIGHT)[:, None]
    alpha = np.zeros((HEIGHT, WIDTH))
    for ink, depth, roughness, peaks in RANGES:
        below = y - (HEIGHT - ridge(rng, peaks, roughness))[None, :]
        wash = ink * np.exp(-np.clip(below, 0, None) / depth) * np.clip(below / 1.6 + 0.5, 0, 1) * cloud(rng)
        hides = np.clip(below / 30, 0, 1) * 0.55  # a nearer range and its mist cover what lies behind
        alpha = alpha * (1 - hides) + wash * (1 - alpha * (1 - hides))
    edges = np.clip(np.minimum(np.linspace(0, 1, WIDTH), np.linspace(1, 0, WIDTH)) / 0.10, 0, 1)
    ground = np.clip((HEIGHT - y) / 150, 0, 1)
    ground = ground * ground * (3 - 2 * ground)
    alpha = alpha * (edges * edges * (3 - 2 * edges))[None, :] * ground
    mask = Image.fromarray((alpha.clip(0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))
    picture = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    picture.putalpha(mask)
    return picture


if __name__ == "__main__":
    paint().save(sys.argv[1], "WEBP", quality=40, alpha_quality=100, method=6)
