"""Predictions before fusion in files.

Q: number of queries; K: number of classes.
"""
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import ConfigDict
from torch import Tensor

from mmpanseg.models.fusion_heads.base import FusionHead
from mmpanseg.models.inference.augmented_views import View
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.structures.mask_logits import DenseMaskLogits
from mmpanseg.utils import strict_json

INDEX = 'index.json'
# meta information that fusion and evaluation read
META_KEYS = ('img_id', 'img_path', 'seg_map_path', 'segments_info', 'void_ids', 'ori_shape',
             'img_shape', 'batch_input_shape', 'img_orientation', 'ann_orientation')

PathLike = str | Path


class RawOutput(NamedTuple):
    """Predictions for one image.

    Args:
        probs: class probabilities [Q, K + 1], "no object" last.
        mask_logits: mask logits of the same queries.
        sample: meta information of the image.
    """
    probs: Tensor
    mask_logits: DenseMaskLogits
    sample: dict

    def view(self, head: FusionHead) -> View:
        """Return the input of a fusion head."""
        return head.view(self.probs, self.mask_logits, 0, self.sample)


@torch.no_grad()
def save_raw_outputs(model: MaskTransformer, batches: Iterable[dict], folder: PathLike,
                     fusion_head: dict, min_score: float = 0.0) -> int:
    """Write the predictions for all images of a data loader.

    Each image has a compressed file of class probabilities and of mask logits, in half precision
    and at the resolution of the model. ``index.json`` contains all other information.

    Args:
        model: segmentor in evaluation mode with ``dataset_meta``.
        batches: batches of a test data loader.
        folder: folder to write to, created if it does not exist.
        fusion_head: config of the fusion head of the model.
        min_score: queries whose largest class probability is below are omitted.

    Returns:
        number of images.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # the index of an earlier run would describe files that this run replaces
    (folder / INDEX).unlink(missing_ok=True)
    samples: list[dict] = []
    for data in batches:
        batch = model.get_submodule('data_preprocessor')(data, False)
        cls_logits, mask_logits = model.predict_queries(
            batch['inputs'], [sample.metainfo for sample in batch['data_samples']])
        probs = model.panoptic_fusion_head.class_scores(cls_logits)
        for image, sample in enumerate(batch['data_samples']):
            queries = (probs[image, :, :-1].amax(1) >= min_score).nonzero()[:, 0]
            masks = mask_logits.dense(-1, image, queries)
            np.savez_compressed(
                folder / f'{len(samples):06d}.npz', probs=probs[image, queries].cpu().numpy(),
                masks=masks.half().cpu().numpy())
            samples.append({key: sample.metainfo[key] for key in META_KEYS
                            if key in sample.metainfo})
    index = dict(
        dataset_meta=dict(model.dataset_meta), fusion_head=ConfigDict(fusion_head).to_dict(),
        num_things_classes=model.num_things_classes, num_stuff_classes=model.num_stuff_classes,
        samples=samples)
    (folder / INDEX).write_text(strict_json.dumps(index, default=_plain), encoding='utf-8')
    return len(samples)


class RawOutputs:
    """Iterable of the :class:`RawOutput` of all images that :func:`save_raw_outputs` wrote.

    Args:
        folder: the folder.

    Attributes:
        dataset_meta: metainfo of the data set.
        fusion_head: config of the fusion head of the model.
        num_classes: dict of ``num_things_classes`` and ``num_stuff_classes``.

    Raises:
        FileNotFoundError: the folder contains no outputs; the text names it.
    """

    def __init__(self, folder: PathLike) -> None:
        self.folder = Path(folder)
        path = self.folder / INDEX
        if not path.is_file():
            raise FileNotFoundError(
                f'{path} does not exist: the folder must be one that raw outputs were saved to')
        index = json.loads(path.read_text(encoding='utf-8'))
        self.dataset_meta = index['dataset_meta']
        self.fusion_head = index['fusion_head']
        self.num_classes = {key: index[key] for key in ('num_things_classes', 'num_stuff_classes')}
        self.samples = index['samples']

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[RawOutput]:
        for number, sample in enumerate(self.samples):
            with np.load(self.folder / f'{number:06d}.npz') as arrays:
                probs = torch.from_numpy(arrays['probs'])
                masks = torch.from_numpy(arrays['masks']).float()
            yield RawOutput(probs, DenseMaskLogits([masks[None]]), sample)


def _plain(value: object) -> object:
    """Convert arrays, their numbers and sets to types of JSON."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)
