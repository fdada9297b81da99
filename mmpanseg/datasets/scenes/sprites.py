"""The things of a scene, drawn as sprites: ball, crate, tree, car, person and bird.

A sprite is drawn ``ZOOM`` times larger than its size in the scene and then reduced together with
its alpha, so that borders are anti-aliased. Coordinates of a sprite are in units of its height: x
to the right from the middle, y upward from the foot, 0..1. Colors are RGB in 0..1 and random for
each instance, so that only the shape shows the class.
"""
import colorsys
from collections.abc import Callable

import cv2
import numpy as np

ZOOM = 3
SKIN = ((0.95, 0.78, 0.65), (0.80, 0.58, 0.42), (0.55, 0.37, 0.26), (0.36, 0.24, 0.17))


def random_color(rng: np.random.Generator, dull: float = 0.0) -> np.ndarray:
    """Return a random color of any hue; a larger ``dull`` (0..1) reduces the saturation."""
    return np.asarray(colorsys.hsv_to_rgb(
        rng.random(), rng.uniform(0.25, 0.9) * (1 - dull), rng.uniform(0.4, 0.95)))


class Sprite:
    """Canvas of one thing.

    Args:
        height: height in the scene in pixels.
        aspect: width divided by height.
        light: unit vector toward the light, (right, down, toward the viewer).
        mirror: mirror the finished sprite horizontally.
    """

    def __init__(self, height: float, aspect: float, light: np.ndarray, mirror: bool) -> None:
        self.unit = height * ZOOM
        self.light = light * np.array([-1, 1, 1], np.float32) if mirror else light
        self.mirror = mirror
        self.half = aspect / 2
        # whole pixels of the scene, with a margin of one pixel around the drawing
        rows, cols = (int(np.ceil(length)) + 2 for length in (height, height * aspect))
        self.shape = rows * ZOOM, cols * ZOOM
        self.color = np.zeros((*self.shape, 3), np.float32)
        self.mask = np.zeros(self.shape, np.uint8)
        self.relief: np.ndarray | None = None
        y, x = np.mgrid[:self.shape[0], :self.shape[1]].astype(np.float32) + 0.5
        self.x = (x - self.shape[1] / 2) / self.unit
        self.y = (self.shape[0] - ZOOM - y) / self.unit

    def _pixels(self, points) -> np.ndarray:
        points = np.asarray(points, np.float64)
        pixels = np.stack([points[..., 0] * self.unit + self.shape[1] / 2,
                           self.shape[0] - ZOOM - points[..., 1] * self.unit], -1)
        return np.round(pixels).astype(np.int32)

    def polygon(self, points, color, inside: bool = False) -> None:
        self._fill(cv2.fillPoly, ([self._pixels(points)], ), color, inside)

    def ellipse(self, center, axes, color, angle: float = 0, inside: bool = False) -> None:
        axes = tuple(max(1, round(a * self.unit)) for a in axes)
        at = tuple(self._pixels(center).tolist())
        self._fill(cv2.ellipse, (at, axes, -angle, 0, 360), color, inside, thickness=-1)

    def limb(self, start, end, width, color) -> None:
        ends = tuple(tuple(self._pixels(p).tolist()) for p in (start, end))
        self._fill(cv2.line, ends, color, False, thickness=max(1, round(width * self.unit)))

    def _fill(self, draw: Callable, shape: tuple, color, inside: bool, **kwargs) -> None:
        """Paint a shape; ``inside`` clips it to the earlier shapes."""
        color = tuple(float(c) for c in color)
        if inside:
            plane = np.zeros(self.shape, np.uint8)
            draw(plane, *shape, color=1, **kwargs)
            self.color[(plane & self.mask) > 0] = color
        else:
            draw(self.mask, *shape, color=1, **kwargs)
            draw(self.color, *shape, color=color, **kwargs)

    def shade_round(self, strength: float = 1.0) -> None:
        """Shade the drawing as a surface that is convex toward the viewer."""
        bulge = cv2.distanceTransform(self.mask, cv2.DIST_L2, 3)
        bulge = np.sqrt(cv2.GaussianBlur(bulge, (0, 0), 0.02 * self.unit + 0.5) / self.unit)
        scale = 0.35 * strength * self.unit
        dx = cv2.Sobel(bulge, cv2.CV_32F, 1, 0) * scale / 8
        dy = cv2.Sobel(bulge, cv2.CV_32F, 0, 1) * scale / 8
        facing = (-dx * self.light[0] - dy * self.light[1] + self.light[2]) / np.sqrt(
            dx * dx + dy * dy + 1)
        self.color *= (0.55 + 0.65 * np.clip(facing, 0, 1))[..., None]

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Return color [h, w, 3] and alpha [h, w] in the scene, foot one pixel above the edge."""
        rows, cols = self.shape[0] // ZOOM, self.shape[1] // ZOOM
        mask = self.mask.astype(np.float32)
        alpha = cv2.resize(mask, (cols, rows), interpolation=cv2.INTER_AREA)
        color = cv2.resize(self.color * mask[..., None], (cols, rows),
                           interpolation=cv2.INTER_AREA)
        color = color / np.maximum(alpha, 1e-3)[..., None]
        if self.mirror:
            color, alpha = color[:, ::-1], alpha[:, ::-1]
        return color, alpha


def _ball(s: Sprite, rng: np.random.Generator, tint: np.ndarray) -> None:
    x, y = s.x * 2, s.y * 2 - 1
    z = np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
    s.ellipse((0, 0.5), (0.5, 0.5), tint)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0].astype(np.float32)
    u, v, w = (turn[i, 0] * x + turn[i, 1] * y + turn[i, 2] * z for i in range(3))
    other = random_color(rng) if rng.random() < 0.5 else np.full(3, rng.uniform(0.85, 0.97))
    style = rng.integers(4)
    if style == 1:
        s.color[np.abs(w) < rng.uniform(0.15, 0.35)] = other
    elif style == 2:
        s.color[(np.arctan2(u, v) / np.pi * rng.integers(2, 4)) % 1 < 0.5] = other
    elif style == 3:
        s.color[np.sin(5 * u) * np.sin(5 * v) * np.sin(5 * w) > 0.12] = other
    facing = x * s.light[0] - y * s.light[1] + z * s.light[2]
    s.color *= (0.38 + 0.75 * np.clip(facing, 0, 1))[..., None]
    s.color += (0.55 * np.clip(facing, 0, 1) ** 24)[..., None]


def _crate(s: Sprite, rng: np.random.Generator, tint: np.ndarray) -> None:
    wide, tall, skew, rise = rng.uniform(0.72, 1.0), rng.uniform(0.68, 0.8), 0.24, 0.2
    left, right = -s.half + 0.03, -s.half + 0.03 + wide
    lit = s.light[0] > 0
    front, side, top = tint, tint * (0.8 if lit else 0.55), np.minimum(tint * 1.25 + 0.05, 1)
    roof = [(left, tall), (right, tall), (right + skew, tall + rise), (left + skew, tall + rise)]
    s.polygon(roof, top)
    s.polygon([(right, 0), (right + skew, rise), (right + skew, tall + rise), (right, tall)], side)
    s.polygon([(left, 0), (right, 0), (right, tall), (left, tall)], front)
    planks = rng.integers(3, 6)
    for k in range(1, planks):
        level = tall * k / planks
        s.polygon([(left, level - 0.012), (right, level - 0.012), (right, level + 0.012),
                   (left, level + 0.012)], front * 0.6)
        s.polygon([(right, level - 0.012), (right + skew, level + rise - 0.012),
                   (right + skew, level + rise + 0.012), (right, level + 0.012)], side * 0.6)
    bar = np.minimum(front * 1.15 + 0.04, 1)
    if rng.random() < 0.5:
        s.polygon([(left, 0.02), (left + 0.09, 0), (right, tall - 0.02), (right - 0.09, tall)], bar)
    for start in (left, right - 0.09):
        s.polygon([(start, 0), (start + 0.09, 0), (start + 0.09, tall), (start, tall)], bar)


def _tree(s: Sprite, rng: np.random.Generator, tint: np.ndarray) -> None:
    bark = np.array([0.36, 0.26, 0.18], np.float32) * rng.uniform(0.7, 1.3)
    s.polygon([(-0.06, 0), (0.06, 0), (0.04, 0.5), (-0.04, 0.5)], bark)
    if rng.random() < 0.45:  # conifer
        for low, high, half in ((0.15, 0.58, 0.34), (0.38, 0.8, 0.27), (0.6, 1.0, 0.19)):
            s.polygon([(-half, low), (0, low + 0.06), (half, low), (0, high)],
                      tint * (0.85 + 0.15 * high))
    else:
        blobs = rng.uniform((-0.2, 0.48, 0.13), (0.2, 0.8, 0.2), (9, 3))
        s.ellipse((0, 0.66), (0.24, 0.24), tint)
        for x, y, r in blobs[np.argsort(blobs[:, 1])]:
            s.ellipse((x, min(y, 0.99 - r)), (r, r), tint * rng.uniform(0.82, 1.12))
    small = (s.shape[0] // 4 + 1, s.shape[1] // 4 + 1)
    leaves = cv2.resize(rng.standard_normal(small, np.float32), s.shape[::-1])
    s.color *= (1 + 0.16 * leaves * (s.y > 0.2))[..., None]
    s.shade_round(1.3)


def _car(s: Sprite, rng: np.random.Generator, tint: np.ndarray) -> None:
    glass = np.array([0.20, 0.26, 0.32], np.float32) + rng.uniform(0, 0.25)
    dark = np.full(3, 0.09)
    van = rng.random() < 0.3
    if van:
        cabin = [(-0.95, 0.5), (-0.93, 0.98), (0.42, 0.98), (0.78, 0.55)]
        panes = [[(-0.2, 0.62), (-0.2, 0.88), (0.02, 0.88), (0.02, 0.62)],
                 [(0.1, 0.62), (0.1, 0.88), (0.38, 0.88), (0.62, 0.62)]]
    else:
        back = rng.uniform(-0.75, -0.55)
        cabin = [(back - 0.15, 0.55), (back + 0.12, 0.98), (0.22, 0.98), (0.55, 0.57)]
        panes = [[(back + 0.06, 0.62), (back + 0.19, 0.9), (-0.1, 0.9), (-0.1, 0.62)],
                 [(-0.03, 0.62), (-0.03, 0.9), (0.19, 0.9), (0.42, 0.62)]]
    s.polygon(cabin, tint)
    s.polygon([(-1.0, 0.2), (-1.02, 0.45), (-0.95, 0.6), (0.55, 0.62), (0.93, 0.52), (1.02, 0.4),
               (1.02, 0.2)], tint)
    s.shade_round(0.9)
    for pane in panes:
        s.polygon(pane, glass)
        (x0, y0), (x1, y1) = pane[0], pane[1]
        s.polygon([(x0 + 0.06, y0), (x1 + 0.07, y1), (x1 + 0.11, y1), (x0 + 0.12, y0)],
                  glass + 0.18, inside=True)
    s.polygon([(-1.02, 0.2), (-1.02, 0.27), (1.02, 0.27), (1.02, 0.2)], tint * 0.45)
    s.limb((-0.06, 0.3), (-0.06, 0.6), 0.015, tint * 0.55)
    s.ellipse((0.95, 0.43), (0.05, 0.05), (1.0, 0.95, 0.7))
    s.ellipse((-0.98, 0.46), (0.035, 0.06), (0.85, 0.12, 0.1), inside=True)
    for x in (-0.6, 0.6):
        s.ellipse((x, 0.2), (0.2, 0.2), dark)
        s.ellipse((x, 0.2), (0.1, 0.1), np.full(3, 0.66))
        s.ellipse((x, 0.2), (0.03, 0.03), dark)


def _person(s: Sprite, rng: np.random.Generator, tint: np.ndarray) -> None:
    skin = np.asarray(SKIN[rng.integers(len(SKIN))])
    trousers, hair = random_color(rng, 0.3) * 0.75, random_color(rng, 0.4) * rng.uniform(0.15, 0.7)
    stride = rng.uniform(0.03, 0.15)
    swing = rng.uniform(-0.1, 0.14)
    s.limb((0.07, 0.76), (0.15 + swing / 2, 0.47), 0.08, tint * 0.75)
    s.limb((0.04, 0.45), (stride + 0.02, 0.05), 0.12, trousers * 0.8)
    s.limb((-0.04, 0.45), (-stride - 0.02, 0.05), 0.12, trousers)
    for x in (-stride - 0.01, stride + 0.03):
        s.ellipse((x + 0.015, 0.028), (0.075, 0.03), np.full(3, 0.12))
    s.polygon([(-0.12, 0.79), (-0.06, 0.82), (0.06, 0.82), (0.12, 0.79), (0.11, 0.43),
               (-0.11, 0.43)], tint)
    if rng.random() < 0.3:  # a skirt
        s.polygon([(-0.1, 0.55), (0.1, 0.55), (0.17, 0.27), (-0.17, 0.27)], trousers)
    s.limb((-0.1, 0.76), (-0.16 - swing / 2, 0.48), 0.085, tint * 0.92)
    s.ellipse((-0.165 - swing / 2, 0.45), (0.04, 0.04), skin)
    s.ellipse((0, 0.9), (0.085, 0.1), skin)
    s.ellipse((-0.015, 0.945), (0.085, 0.055), hair)
    s.shade_round(0.8)


def _bird(s: Sprite, rng: np.random.Generator, tint: np.ndarray) -> None:
    wing = tint * rng.uniform(0.6, 0.85)
    lift = rng.choice([0.95, 0.12])
    s.polygon([(0.05, 0.52), (-0.3, 0.5), (-0.42, lift), (-0.12, (lift + 0.5) / 2)], wing * 0.75)
    s.polygon([(-0.3, 0.5), (-0.78, 0.62), (-0.8, 0.44), (-0.35, 0.4)], wing)
    s.ellipse((0, 0.46), (0.42, 0.17), tint, angle=6)
    s.ellipse((0.42, 0.58), (0.16, 0.15), tint)
    s.polygon([(0.54, 0.63), (0.78, 0.56), (0.54, 0.52)], (0.95, 0.62, 0.15))
    s.polygon([(0.2, 0.5), (-0.18, 0.44), (-0.2, min(lift * 1.04, 0.99)),
               (0.1, (lift + 0.5) / 2)], wing)
    s.shade_round(1.0)
    s.ellipse((0.46, 0.61), (0.03, 0.03), (0.05, 0.05, 0.05), inside=True)


def _rock(s: Sprite, rng: np.random.Generator, tint: np.ndarray) -> None:
    angles = rng.uniform(0, np.pi, 10)
    radius = rng.uniform(0.85, 1.0, 10)
    points = np.stack([0.7 * radius * np.cos(angles), 0.04 + 0.9 * radius * np.sin(angles)], 1)
    feet = [(-0.55, 0.0), (0.5, 0.0)]
    outline = cv2.convexHull(np.array([*points, *feet], np.float32))[:, 0]
    s.polygon(outline, 0.75 * np.array([0.5, 0.48, 0.46], np.float32) + 0.25 * tint)
    s.shade_round(1.8)


# name: function, aspect, height near the viewer divided by that of the image, and the factor of
# this height at the horizon
THINGS = dict(
    ball=(_ball, 1.0, 0.26, 0.5),
    crate=(_crate, 1.35, 0.30, 0.5),
    tree=(_tree, 0.76, 0.62, 0.5),
    car=(_car, 2.1, 0.30, 0.5),
    person=(_person, 0.5, 0.52, 0.5),
    bird=(_bird, 1.7, 0.19, 1.0),
    rock=(_rock, 1.5, 0.18, 0.5))


def draw_thing(rng: np.random.Generator, name: str, height: float, tint: np.ndarray,
               light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw a random thing of ``height`` pixels; return color [h, w, 3] and alpha [h, w]."""
    draw, aspect = THINGS[name][:2]
    sprite = Sprite(height, aspect, light, mirror=bool(rng.random() < 0.5))
    draw(sprite, rng, np.asarray(tint, np.float32))
    return sprite.finish()
