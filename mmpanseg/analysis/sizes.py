"""Image sizes that costs are averaged over.

Shapes are (height, width).
"""
from collections import defaultdict

# COCO images have a longer side of 640 or 500; nearly all are 4:3 or 3:2, and three in four are
# landscapes. Size -> share of images, rounded.
COCO_SIZES = {
    (480, 640): 0.29,
    (427, 640): 0.36,
    (640, 480): 0.12,
    (640, 427): 0.12,
    (375, 500): 0.06,
    (640, 640): 0.03,
    (360, 640): 0.02,
}


def resized(size: tuple[int, int], short: int = 800, long: int = 1333) -> tuple[int, int]:
    """Size with a shorter side of ``short``, unless the longer one would exceed ``long``."""
    scale = min(short / min(size), long / max(size))
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def coco_test_sizes() -> dict[tuple[int, int], float]:
    """Sizes that a network sees in tests on COCO, with their shares."""
    shares: dict[tuple[int, int], float] = defaultdict(float)
    for size, share in COCO_SIZES.items():
        shares[resized(size)] += share
    return dict(shares)
