"""What a model predicts before any fusion, kept on disk.

Shapes: Q queries, K classes, h, w mask logits.
"""
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmpanseg.models.fusion_heads.base import FusionHead
from mmpanseg.models.inference.augmented_views import View
from mmpanseg.structures.mask_logits import DenseMaskLogits

INDEX = 'index.json'
# what fusion and scoring need to know of an image
META_KEYS = ('img_id', 'img_path', 'seg_map_path', 'segments_info', 'void_ids', 'ori_shape',
             'img_shape', 'batch_input_shape', 'img_orientation', 'ann_orientation')

PathLike = str | Path


class RawOutput(NamedTuple):
    """Of one image: ``probs`` [Q, K + 1], "no object" last; ``mask_logits`` of the same queries;
    ``sample``, its meta information.
    """
    probs: Tensor
    mask_logits: DenseMaskLogits
    sample: dict

    def view(self, head: FusionHead) -> View:
        """What a fusion head makes a result of."""
        return View(self.probs, head.full_size_masks(self.mask_logits, 0, self.sample))


@torch.no_grad()
def save_raw_outputs(model: nn.Module, batches: Iterable[dict], folder: PathLike,
                     fusion_head: dict, min_score: float = 0.0) -> int:
    """Write the predictions for all images of a data loader.

    One compressed file for an image: class probabilities, and mask logits in half precision at
    the size at which the model gives them; and ``index.json`` with all the rest.

    Args:
        model: a :class:`MaskTransformer` in evaluation mode with ``dataset_meta``.
        batches: of samples, as from a test data loader.
        folder: made if it does not exist.
        fusion_head: config of the model's own fusion head.
        min_score: queries whose best class is below are left out.

    Returns:
        number of images.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # an earlier run's would describe files that this one replaces
    (folder / INDEX).unlink(missing_ok=True)
    samples = []
    for data in batches:
        batch = model.data_preprocessor(data, False)
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
    (folder / INDEX).write_text(json.dumps(index, default=_plain), encoding='utf-8')
    return len(samples)


class RawOutputs:
    """Outputs that :func:`save_raw_outputs` wrote; iterating gives a :class:`RawOutput` each.

    Args:
        folder: where they are.

    Attributes:
        dataset_meta: of the data set, ``classes`` and so on.
        fusion_head: config of the model's fusion head.
        num_classes: dict of ``num_things_classes`` and ``num_stuff_classes``.

    Raises:
        FileNotFoundError: there are none; the text names the folder.
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
    """Arrays and their numbers as JSON has them."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)
