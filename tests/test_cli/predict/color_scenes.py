"""Scenes of plain colors, and a network that sees colors, so that its predictions are known."""
import cv2
import numpy as np
import torch

from mmpanseg.structures.mask_logits import DenseMaskLogits

CLASSES = ('ball', 'sky', 'ground')
BALL, SKY, GROUND = range(3)
# RGB that a query sees, and its class; two balls of other colors are two instances
QUERIES = (((200, 60, 60), BALL), ((60, 200, 200), BALL), ((90, 150, 220), SKY),
           ((90, 160, 70), GROUND))
COLORS = np.array([color for color, _ in QUERIES], dtype=np.uint8)
META = dict(thing_classes=('ball',), stuff_classes=('sky', 'ground'), classes=CLASSES,
            palette=[(200, 60, 60), (90, 150, 220), (90, 160, 70)])
# other order, other ids and one class more than the model
CATEGORIES = [dict(id=30, name='sky', isthing=0), dict(id=4, name='ball', isthing=1),
              dict(id=12, name='ground', isthing=0), dict(id=5, name='tree', isthing=0)]
CATEGORY_OF = {BALL: 4, SKY: 30, GROUND: 12}


def sees_colors(self, inputs, metainfos):
    """One query for each color; its mask are the pixels of the color."""
    normalization = self.data_preprocessor
    pixels = inputs * normalization.std + normalization.mean
    colors = torch.from_numpy(COLORS).to(pixels)[:, :, None, None]
    distance = (pixels[:, None] - colors).square().sum(2).sqrt()
    labels = torch.tensor([label for _, label in QUERIES])
    seen = (distance < 40).flatten(2).any(2)
    logits = 9 * torch.nn.functional.one_hot(torch.where(seen, labels, len(CLASSES)), 4).float()
    return logits, DenseMaskLogits([4 - distance / 10])


def scene(labels):
    """RGB picture of a map of numbers of queries."""
    return COLORS[labels]


def ball_scene(rng, size=(64, 64), balls=1):
    """Map of numbers of queries: balls before sky and ground."""
    labels = np.full(size, 2, dtype=np.uint8)
    labels[rng.integers(size[0] // 2, size[0] - 8):] = 3
    for ball in range(balls):
        center = tuple(int(v) for v in rng.integers(14, min(size) - 14, 2))
        labels = cv2.circle(labels, center, int(rng.integers(7, 12)), ball, -1)
    return labels


def write_image(path, labels):
    """Write the picture of a map."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), scene(labels)[..., ::-1], [
        cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])


def write_video(path, frames, rate=10.0):
    """Write the pictures of maps as a video."""
    height, width = frames[0].shape
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*'mp4v'), rate,
                            (width, height))
    for labels in frames:
        video.write(np.ascontiguousarray(scene(labels)[..., ::-1]))
    video.release()
