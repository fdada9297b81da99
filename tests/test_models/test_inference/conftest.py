"""A model that predicts each segment from its color: an independent definition of results."""
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from torch import nn

from mmpanseg.models.heads import PanopticHead
from mmpanseg.structures.mask_logits import DenseMaskLogits

THINGS, STUFF = 2, 2


@MODELS.register_module(force=True)
class ImageBackbone(nn.Module):
    """Return the image as the feature map."""

    def forward(self, x):
        return (x, )


@MODELS.register_module(force=True)
class ColorHead(PanopticHead):
    """One query per color of the image: (label, number, anything), black is void.

    Masks are exact, at the resolution of the input, and queries are sorted by color. The masks of
    a tile do not depend on the rest of the image.
    """

    sharpness = 10.0

    def __init__(self, num_things_classes, num_stuff_classes):
        super().__init__()
        self.num_classes = num_things_classes + num_stuff_classes
        self.calls = []

    def predict(self, features, metainfos=None):
        image = features[0].long()
        self.calls.append(tuple(image.shape))
        codes = (image[:, 0] * 256 + image[:, 1]) * 256 + image[:, 2]
        colors = [c for c in codes.unique().tolist() if c]
        logits = torch.full((len(image), len(colors) + 1, self.num_classes + 1), -10.0)
        logits[..., -1] = 0
        masks = torch.full((len(image), len(colors) + 1, *codes.shape[1:]), -self.sharpness)
        for query, color in enumerate(colors):
            for k, code in enumerate(codes):
                if (code == color).any():
                    logits[k, query, (color >> 16) - 1] = 10
                    masks[k, query, code == color] = self.sharpness
        return logits, DenseMaskLogits([masks])


class Colors:
    """Images of colored segments, and models that predict them."""

    @staticmethod
    def color(label, number=0):
        """Color of a segment."""
        return np.array([label + 1, number, 0], dtype=np.uint8)

    @staticmethod
    def model(**test_cfg):
        return MODELS.build(dict(
            type='mmpanseg.MaskTransformer', num_things_classes=THINGS, num_stuff_classes=STUFF,
            backbone=dict(type='ImageBackbone'), panoptic_head=dict(type='ColorHead'),
            data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=4),
            test_cfg=test_cfg)).eval()

    @staticmethod
    def predict(model, image, ori_shape=None):
        """The model's data sample for an array [H, W, 3]."""
        size = image.shape[:2]
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=ori_shape or size))
        with torch.no_grad():
            result, = model.test_step(dict(
                inputs=[torch.from_numpy(image).permute(2, 0, 1)], data_samples=[sample]))
        return result


@pytest.fixture
def colors():
    return Colors
