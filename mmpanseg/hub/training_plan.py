"""Sizes, batch and schedule of a training on the user's own data."""
import math
from typing import NamedTuple

from mmengine.config import Config

from mmpanseg.hub.model_choice import ModelChoice
from mmpanseg.hub.own_data import OwnData

# Short side of test images in pixels: of the published models of COCO, and of the small model.
LONGEST_SHORT_SIDE, SMALL_SHORT_SIDE = 800, 128
# Long side of the square that kMaX-DeepLab sees.
KMAX_SIDE = 1281
# Pixels of the crops of one step that 12 GB of a GPU hold with ResNet-50, roughly.
PIXELS_PER_STEP = 2 * 640 * 640
# Parameters of a backbone from which a step has half of them.
LARGE_MODEL = 80e6
# Images that a training sees for 100 images of data; it grows with the root of their number.
SEEN_FINE_TUNED, SEEN_FROM_BACKBONE, SEEN_SMALL = 10_000, 30_000, 8_000


class Plan(NamedTuple):
    """Numbers of the config.

    Args:
        test_scale: (long, short) side of test images in pixels.
        crop_size: (width, height) of training crops.
        batch_size: images per step.
        steps: length of the training.
        val_interval: steps between validations.
        warmup: steps of the linear warm-up.
        lr: learning rate.
        base_lr, base_batch: those of the extended config.
        queries: number of queries; None for that of the extended config.
        why_steps: reason of the length.
        pretrained: the extended config has weights for its backbone.
    """

    test_scale: tuple[int, int]
    crop_size: tuple[int, int]
    batch_size: int
    steps: int
    val_interval: int
    warmup: int
    lr: float
    base_lr: float
    base_batch: int
    queries: int | None
    why_steps: str
    pretrained: bool


def make_plan(facts: OwnData, choice: ModelChoice, batch_size: int | None = None,
              steps: int | None = None, epochs: int | None = None,
              short_side: int | None = None) -> Plan:
    """Choose sizes, batch and schedule.

    Args:
        facts: the data.
        choice: the model.
        batch_size: of the user, see :func:`write_config`.
        steps: of the user.
        epochs: of the user.
        short_side: of the user.
    """
    cfg = Config.fromfile(choice.base.config)
    small = choice.is_small
    test_scale, crop_size = _sizes(facts, small, choice.has_fixed_size, short_side)
    if batch_size is None:
        large = (choice.base.parameters or 0) > LARGE_MODEL
        room = PIXELS_PER_STEP // (1 + large) // (crop_size[0] * crop_size[1])
        batch_size = 4 if small else 2 ** int(math.log2(min(8, max(1, room))))
    steps, why_steps = _length(facts.counts[0], choice, batch_size, steps, epochs)
    base_batch = (cfg.get('auto_scale_lr') or {}).get('base_batch_size',
                                                      cfg.train_dataloader.batch_size)
    base_lr = cfg.optim_wrapper.optimizer.lr
    queries = choice.queries
    own = cfg.model.panoptic_head.num_queries
    if queries == own:
        queries = None
    most = facts.most_segments or len(facts.stuff)
    if most > (queries or own):
        queries = _up(most * 5 // 4, 10)
    return Plan(
        test_scale, crop_size, batch_size, steps,
        val_interval=_interval(steps), warmup=min(500, max(1, steps // 10)),
        lr=float(f'{base_lr * math.sqrt(batch_size / base_batch):.2g}'), base_lr=base_lr,
        base_batch=base_batch, queries=queries, why_steps=why_steps,
        pretrained=bool(cfg.model.backbone.get('init_cfg')))


def _up(value: float, step: int) -> int:
    return max(step, math.ceil(value / step) * step)


def _sizes(facts: OwnData, small: bool, fixed: bool,
           short_side: int | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """Scale of test images (long, short), and crop (width, height)."""
    elongation = min(2.0, facts.elongation)
    if fixed:
        # sizes of 32 k + 1 pixels, whose strides align
        side = (_up(short_side * elongation, 32) + 1 if short_side else
                min(KMAX_SIDE, _up(facts.short_side * elongation, 32) + 1))
        return (side, side), (side, side)
    limit = SMALL_SHORT_SIDE if small else LONGEST_SHORT_SIDE
    short = short_side or min(limit, _up(facts.short_side - 15, 32))
    long = math.ceil(short * elongation)
    aspect = min(1.5, max(1 / 1.5, facts.aspect))
    width, height = (_up(short * max(1, aspect) - 15, 32), _up(short * max(1, 1 / aspect) - 15, 32))
    return (long, short), (width, height)


def _length(images: int, choice: ModelChoice, batch_size: int, steps: int | None,
            epochs: int | None) -> tuple[int, str]:
    if steps is not None:
        return steps, f'{steps * batch_size / images:.3g} passes over the {images} images'
    if epochs is not None:
        count = math.ceil(epochs * images / batch_size)
        return count, f'{epochs} passes over the {images} images'
    seen = (SEEN_FINE_TUNED if choice.weights else
            SEEN_SMALL if choice.is_small else SEEN_FROM_BACKBONE)
    count = max(100, round(seen * math.sqrt(images / 100) / batch_size / 100) * 100)
    passes = count * batch_size / images
    return count, (f'{passes:.3g} passes over the {images} images (a training sees {seen} images '
                   'for 100 of data, for others in proportion to the root of their number)')


def _interval(steps: int) -> int:
    """Interval of validations, the last of which is after the last step."""
    wanted = 10 if steps >= 2000 else 5 if steps >= 1000 else 2
    return steps // next(count for count in range(wanted, 0, -1) if steps % count == 0)
