"""The stuff of a scene: sky, mountain, grass, water, road and wall as textures with soft borders.

Images are float32 [H, W, 3], RGB in 0..1. A layer is (class name, alpha [H, W], color [H, W, 3]);
alpha is the share of a pixel that the layer covers, so that borders come out anti-aliased.
"""
from dataclasses import dataclass

import cv2
import numpy as np

# sky at the top, sky at the horizon, tint of everything else
MOODS = (
    ((0.25, 0.50, 0.88), (0.74, 0.87, 0.97), (1.00, 1.00, 1.00)),  # clear day
    ((0.40, 0.62, 0.86), (0.93, 0.94, 0.91), (1.03, 1.01, 0.96)),  # morning
    ((0.55, 0.60, 0.67), (0.83, 0.85, 0.87), (0.90, 0.94, 0.98)),  # overcast
    ((0.27, 0.27, 0.55), (0.98, 0.65, 0.42), (1.04, 0.88, 0.76)),  # sunset
    ((0.14, 0.17, 0.36), (0.55, 0.47, 0.62), (0.68, 0.70, 0.88)),  # dusk
)
GRASS = ((0.36, 0.55, 0.20), (0.48, 0.62, 0.25), (0.66, 0.62, 0.30), (0.25, 0.45, 0.24))
ROCK = ((0.45, 0.43, 0.42), (0.50, 0.40, 0.32), (0.33, 0.42, 0.36), (0.42, 0.44, 0.54))
ROAD = ((0.36, 0.36, 0.38), (0.47, 0.45, 0.43), (0.60, 0.50, 0.38))
BRICK = ((0.66, 0.36, 0.28), (0.74, 0.64, 0.50), (0.58, 0.57, 0.58), (0.80, 0.76, 0.72))

Layer = tuple[str, np.ndarray, np.ndarray]


@dataclass
class Frame:
    """Geometry and light that all parts of a scene share.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        horizon: row of the horizon in pixels.
        mood: one of ``MOODS``.
        light: unit vector toward the light, (right, down, toward the viewer).
    """

    height: int
    width: int
    horizon: float
    mood: tuple
    light: np.ndarray

    def __post_init__(self) -> None:
        self.y, self.x = np.mgrid[:self.height, :self.width].astype(np.float32)

    @property
    def nearness(self) -> np.ndarray:
        """Distance from the horizon: 0 at the horizon, 1 at the lower edge, [H, W]."""
        return np.clip((self.y - self.horizon) / (self.height - self.horizon), 0, 1)


def noise(rng: np.random.Generator, shape: tuple, cell: tuple, octaves: int = 3) -> np.ndarray:
    """Return fractal noise float32 [H, W] around 0, mostly in -1..1; ``cell`` (y, x) in pixels."""
    height, width = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        rows = max(2, round(height * 2 ** octave / cell[0]))
        cols = max(2, round(width * 2 ** octave / cell[1]))
        grid = rng.standard_normal((rows, cols), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2 ** octave
    return total * 0.6


def ridge(rng: np.random.Generator, width: int, cell: float, octaves: int = 4) -> np.ndarray:
    """Return a fractal curve float32 [W] around 0."""
    return noise(rng, (2, width), (2, cell), octaves)[0]


def cover(signed_distance: np.ndarray) -> np.ndarray:
    """Compute alpha from the signed distance to a border in pixels (positive inside)."""
    return np.clip(signed_distance + 0.5, 0, 1)


def pick(rng: np.random.Generator, palette: tuple, spread: float = 0.05) -> np.ndarray:
    """Return a random color of the palette with normal noise of standard deviation ``spread``."""
    color = np.asarray(palette[rng.integers(len(palette))]) + rng.normal(0, spread, 3)
    return np.clip(color, 0.03, 0.97).astype(np.float32)


def make_frame(rng: np.random.Generator, size: tuple[int, int]) -> Frame:
    """Return a random frame of a size (H, W)."""
    height, width = size
    light = np.array([rng.uniform(-0.8, 0.8), -0.7, 0.6])
    return Frame(height, width, height * rng.uniform(0.30, 0.52),
                 MOODS[rng.choice(len(MOODS), p=(0.32, 0.24, 0.18, 0.16, 0.10))],
                 (light / np.linalg.norm(light)).astype(np.float32))


def make_backdrop(rng: np.random.Generator, frame: Frame) -> list[Layer]:
    """Draw the stuff of a scene: layers from back to front; the first one covers the image."""
    layers = [_sky(rng, frame)]
    if rng.random() < 0.65:
        layers.append(_mountain(rng, frame))
    layers.append(_grass(rng, frame))
    shore_or_wall = rng.random()
    if shore_or_wall < 0.3:
        layers.append(_wall(rng, frame))
    if rng.random() < 0.55:
        layers.append(_road(rng, frame))
    if shore_or_wall > 0.55:
        layers.append(_water(rng, frame))
    return layers


def _sky(rng: np.random.Generator, frame: Frame) -> Layer:
    top, bottom, _ = (np.asarray(c, np.float32) for c in frame.mood)
    down = np.clip(frame.y / frame.horizon, 0, 1)[..., None] ** rng.uniform(0.7, 1.3)
    color = top + (bottom - top) * down
    glow = np.exp(-((frame.x - rng.uniform(0, frame.width)) ** 2
                    + (frame.y - frame.horizon * rng.uniform(0.3, 1)) ** 2)
                  / (2 * (0.22 * frame.width) ** 2))
    color += 0.16 * glow[..., None]
    height, width = frame.height, frame.width
    clouds = noise(rng, (height, width), (height / 6, width / 3), 4) + rng.uniform(-0.7, 0.3)
    # flat undersides: a cloud is darker where there is more of it above
    shade = np.clip(clouds - np.roll(clouds, max(1, height // 40), axis=0), -0.3, 0.3)
    share = np.clip(clouds * 1.6, 0, 0.9)[..., None]
    cloud_color = 0.55 * bottom + 0.45 + 0.35 * shade[..., None]
    color = color * (1 - share) + cloud_color * share
    return 'sky', np.ones((height, width), np.float32), color


def _mountain(rng: np.random.Generator, frame: Frame) -> Layer:
    height, width = frame.height, frame.width
    haze = np.asarray(frame.mood[1], np.float32)
    base = pick(rng, ROCK)
    alpha = np.zeros((height, width), np.float32)
    color = np.zeros((height, width, 3), np.float32)
    peak = frame.horizon * rng.uniform(0.35, 0.7)
    snow = rng.random() < 0.5
    for distance in (0.55, 0.2)[rng.integers(2):]:
        rise = peak * (0.55 + 0.45 * distance / 0.55)
        top = frame.horizon - rise * (0.62 + 0.45 * ridge(rng, width, width / rng.uniform(2, 4)))
        relief = noise(rng, (height, width), (height / 9, width / 12), 4)
        slope = np.roll(relief, 2, axis=1) - relief
        shade = 0.85 + 0.9 * np.sign(frame.light[0]) * slope + 0.12 * relief
        layer = base * shade[..., None]
        if snow:
            cap = np.clip((top + 0.28 * rise - frame.y) / 5 + 1.5 * relief, 0, 1)[..., None]
            layer = layer * (1 - cap) + cap * (0.88 + 0.12 * shade[..., None])
        mist = distance + 0.35 * np.clip((frame.y - top) / rise, 0, 1)[..., None]
        layer = layer * (1 - mist) + haze * mist
        share = cover(frame.y - top)
        color = color * (1 - share[..., None]) + layer * share[..., None]
        alpha = np.maximum(alpha, share)
    return 'mountain', alpha, color / np.maximum(alpha, 1e-3)[..., None]


def _grass(rng: np.random.Generator, frame: Frame) -> Layer:
    height, width = frame.height, frame.width
    top = frame.horizon + 0.02 * height * ridge(rng, width, width / 3)
    near = frame.nearness
    patches = noise(rng, (height, width), (height / 6, width / 3), 3)
    # blades get longer toward the viewer
    blades = rng.standard_normal((height, width), np.float32)
    blades = (cv2.blur(blades, (1, 3)) * (1 - near) + cv2.blur(blades, (2, 9)) * 2.2 * near)
    shade = 0.80 + 0.16 * patches + 0.20 * blades * (0.3 + 0.7 * near) + 0.18 * near
    color = pick(rng, GRASS) * shade[..., None]
    color += np.array([0.08, 0.03, -0.02], np.float32) * patches[..., None]
    haze = 0.35 * (1 - near[..., None]) ** 3
    color = color * (1 - haze) + np.asarray(frame.mood[1], np.float32) * haze
    return 'grass', cover(frame.y - top), color


def _water(rng: np.random.Generator, frame: Frame) -> Layer:
    height, width = frame.height, frame.width
    depth = height - frame.horizon
    shore = depth * (rng.uniform(0.15, 0.4) + rng.uniform(-0.5, 0.5)
                     * (np.arange(width) / width - 0.5) + 0.05 * ridge(rng, width, width / 4))
    top, bottom, _ = (np.asarray(c, np.float32) for c in frame.mood)
    near = frame.nearness
    ripples = noise(rng, (height, width), (2.5, 22), 2) * (0.4 + near)
    waves = noise(rng, (height, width), (height / 14, width / 3), 2)
    mix = np.clip(0.25 + 1.5 * near, 0, 1)[..., None]
    color = bottom * (1 - mix) + top * mix
    color = color * np.array([0.72, 0.88, 0.92], np.float32) * (0.95 + 0.10 * waves[..., None])
    color = color + 0.16 * np.clip(ripples, -0.6, 1.2)[..., None]
    to_shore = frame.horizon + shore - frame.y
    foam = np.exp(-(to_shore / 2.2 - 1) ** 2)[..., None] * 0.35
    color = color * (1 - foam) + 0.95 * foam
    far_edge = frame.y - frame.horizon - 0.012 * height
    return 'water', cover(np.minimum(to_shore, far_edge)), color


def _road(rng: np.random.Generator, frame: Frame) -> Layer:
    height, width = frame.height, frame.width
    near = frame.nearness
    if rng.random() < 0.6:  # toward the horizon
        start, end, bend = rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.9), rng.uniform(-0.7, 0.7)
        center = width * (start + (end - start) * near + bend * near * (1 - near))
        half = width * (0.01 + rng.uniform(0.15, 0.3) * near)
        across = (frame.x - center) / half
        along = np.log(near + 0.06) * 7
        inside = np.minimum(half - np.abs(frame.x - center), frame.y - frame.horizon - 2)
    else:  # across the picture
        middle = frame.horizon + (height - frame.horizon) * rng.uniform(0.35, 0.75)
        center = middle + rng.uniform(-0.25, 0.25) * (frame.x - width / 2)
        center = center + height * 0.03 * ridge(rng, width, width / 2, 1)
        half = np.full_like(center, height * rng.uniform(0.09, 0.16))
        across = (frame.y - center) / half
        along = frame.x / 26
        inside = np.minimum(half - np.abs(frame.y - center), frame.y - frame.horizon - 2)
    grain = rng.standard_normal((height, width), np.float32) * 0.06
    wear = noise(rng, (height, width), (height / 8, width / 6), 3)
    color = pick(rng, ROAD, 0.03) * (0.95 + 0.07 * wear + grain)[..., None]
    if rng.random() < 0.75:
        dashed = (np.abs(across) < 0.035) & (along % 1 < 0.55)
        edges = np.abs(np.abs(across) - 0.88) < 0.03
        marks = cv2.blur((dashed | edges).astype(np.float32), (2, 2))[..., None] * 0.75
        color = color * (1 - marks) + 0.93 * marks
    return 'road', cover(inside), color


def _wall(rng: np.random.Generator, frame: Frame) -> Layer:
    height, width = frame.height, frame.width
    length = width * rng.uniform(0.35, 1.1)
    left = rng.uniform(-0.3, 0.9) * width - 0.2 * length
    tilt = rng.uniform(-0.06, 0.06)
    foot = (frame.horizon + height * rng.uniform(0.05, 0.15) + tilt * (frame.x - width / 2))
    tall = height * rng.uniform(0.14, 0.3)
    up = foot - frame.y
    brick_h, brick_w = rng.uniform(5, 8), rng.uniform(12, 18)
    row = np.floor(up / brick_h).astype(int)
    shifted = frame.x / brick_w + 0.5 * (row % 2)
    col = np.floor(shifted).astype(int)
    tones = rng.normal(0, 1, (64, 128)).astype(np.float32)
    tone = tones[row % 64, col % 128]
    joint = (up % brick_h < 1.1) | ((shifted % 1) * brick_w < 1.1)
    grain = rng.standard_normal((height, width), np.float32)
    base = pick(rng, BRICK)
    color = base * (0.92 + 0.09 * tone + 0.04 * grain)[..., None]
    color = np.where(joint[..., None], 0.5 * base + 0.34, color)
    coping = (tall - up < 4)[..., None]
    color = np.where(coping, 0.6 * base + 0.33, color)
    color = color * (1 - 0.35 * np.exp(-up.clip(0) / 3))[..., None]  # dirt along the foot
    inside = np.minimum.reduce([up, tall - up, frame.x - left, left + length - frame.x])
    return 'wall', cover(inside), color.astype(np.float32)
