"""Time the Mask2Former of transformers and ours, side by side, with the same converted weights.

A Mask2Former R50 of transformers is initialized and converted, so both have one set of weights, and
both get the same made-up features of the backbone: what is timed lies behind it. First the outputs
are compared. Inference ends with the panoptic result; as untrained weights find nothing, class
scores are overwritten such that ``--confident`` queries are sure.

    OMP_NUM_THREADS=2 python tools/benchmark/transformers_peer.py --sizes 512 --rounds 5
"""
# ruff: noqa: E402  (arguments are parsed before the imports that take seconds)
import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sizes', type=int, nargs='+', default=[512], help='of the images')
    parser.add_argument('--segments', type=int, default=12, help='in every image, for training')
    parser.add_argument('--confident', type=int, default=15, help='queries that find something')
    parser.add_argument('--batch', type=int, default=1, help='images of a training step')
    parser.add_argument('--rounds', type=int, default=5, help='timings of each (default: 5)')
    return parser.parse_args()


if __name__ == '__main__':
    ARGS = parse_args()

from collections.abc import Callable

import torch
import transformers
from inference import sure
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from peers import CHANNELS, CLASSES, OUR_CONFIG, make_features, make_samples, region_masks
from timing import medians, row
from torch import Tensor, nn
from transformers.models.mask2former.image_processing_pil_mask2former import (
    Mask2FormerImageProcessorPil,
)

from mmpanseg.checkpoints import convert
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.registry import MODELS


class _Given(nn.Module):
    """A backbone of transformers whose features are given in place of pixels."""

    def forward(self, pixel_values: tuple) -> transformers.modeling_outputs.BackboneOutput:
        return transformers.modeling_outputs.BackboneOutput(feature_maps=pixel_values)


class _Features(tuple):
    """Features that tell their batch size, as pixels do."""

    shape = property(lambda self: self[0].shape)
    device = property(lambda self: self[0].device)


def build_pair() -> tuple[nn.Module, nn.Module]:
    """The model of transformers and ours."""
    torch.manual_seed(0)
    theirs = transformers.Mask2FormerForUniversalSegmentation(transformers.Mask2FormerConfig(
        backbone_config=transformers.ResNetConfig(
            hidden_sizes=list(CHANNELS), out_features=[f'stage{i}' for i in range(1, 5)]),
        num_labels=CLASSES, dropout=0.0))
    config = Config.fromfile(OUR_CONFIG).model
    config.backbone.init_cfg = None
    config.test_cfg = dict(panoptic_on=True)
    config.panoptic_fusion_head.update(object_mask_thr=0.8, iou_thr=0.8)
    MMLogger.get_instance('benchmark', log_level='WARNING')
    init_default_scope('mmdet')
    ours = MODELS.build(config)
    ours.load_state_dict(convert(theirs.state_dict()).state_dict, strict=True)
    theirs.model.pixel_level_module.encoder = _Given()
    return theirs, ours


def labels_for_theirs(samples: list[DetDataSample]) -> dict[str, list[Tensor]]:
    """Ground truth as transformers takes it: a mask for every segment."""
    maps = [sample.gt_segments for sample in samples]
    return dict(
        mask_labels=[(m.map[None] == torch.arange(len(m.labels))[:, None, None]).float()
                     for m in maps],
        class_labels=[m.labels for m in maps])


def training_steps(theirs: nn.Module, ours: nn.Module, size: int, segments: int,
                   batch: int) -> dict[str, Callable[[], None]]:
    """A training step of each."""
    features = make_features(batch, (size, size))
    for feature in features:
        feature.requires_grad_()
    samples = make_samples((size, size), [segments] * batch)['ours']
    labels = labels_for_theirs(samples)

    def their_step() -> None:
        theirs.zero_grad()
        theirs(_Features(features), **labels).loss.backward()

    def our_step() -> None:
        ours.zero_grad()
        sum(ours.panoptic_head.loss(features, samples).values()).backward()

    theirs.train()
    ours.train()
    return dict(transformers=their_step, ours=our_step)


def inferences(theirs: nn.Module, ours: nn.Module, size: int,
               confident: int) -> dict[str, Callable[[], object]]:
    """Inference of one image with each, to the panoptic result."""
    features = make_features(1, (size, size))
    meta = dict(batch_input_shape=(size, size), img_shape=(size, size), ori_shape=(size, size),
                scale_factor=(1., 1.))
    processor = Mask2FormerImageProcessorPil()
    product = region_masks((size // 4, size // 4))
    dense = product.dense(0, 0, torch.arange(100))[None]

    def their_inference() -> list:
        outputs = theirs(_Features(features))
        outputs.class_queries_logits = sure(outputs.class_queries_logits, confident)
        outputs.masks_queries_logits = dense
        return processor.post_process_panoptic_segmentation(
            outputs, threshold=0.8, overlap_mask_area_threshold=0.8,
            label_ids_to_fuse=set(range(80, CLASSES)), target_sizes=[(size, size)])

    def our_inference() -> list:
        cls_logits, _ = ours.panoptic_head.predict(features)
        return ours.panoptic_fusion_head.predict(
            sure(cls_logits, confident), product, [meta], True, OutputOptions())

    theirs.eval()
    ours.eval()
    return dict(transformers=their_inference, ours=our_inference)


def largest_difference(theirs: nn.Module, ours: nn.Module, size: int) -> float:
    """Of class and mask logits, relative to the largest logit."""
    features = make_features(1, (size, size))
    expected = theirs.eval()(_Features(features))
    cls_logits, masks = ours.eval().panoptic_head.predict(features)
    pairs = ((cls_logits, expected.class_queries_logits),
             (masks.dense(-1, 0, torch.arange(100))[None], expected.masks_queries_logits))
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def main(args: argparse.Namespace) -> None:
    theirs, ours = build_pair()
    with torch.no_grad():
        print(f'largest difference of the logits, relative: '
              f'{largest_difference(theirs, ours, args.sizes[0]):.1e}')
    for size in args.sizes:
        with torch.no_grad():
            seconds = medians(inferences(theirs, ours, size, args.confident), args.rounds)
        print(row(f'{size} inference behind the backbone', seconds, 'transformers'), flush=True)
        seconds = medians(training_steps(theirs, ours, size, args.segments, args.batch),
                          args.rounds)
        print(row(f'{args.batch} x {size} training step', seconds, 'transformers'), flush=True)


if __name__ == '__main__':
    main(ARGS)
