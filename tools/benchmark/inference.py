"""Time inference behind the backbone, mmdet's Mask2Former and ours, side by side.

The published R50 head with the same weights on random features, part by part and as a whole.
Untrained weights predict no object, so class scores are overwritten: ``--confident`` queries get a
high score for a class, as those of a trained model. 'post-processing' begins at the mask logits:
mmdet's are computed before, ours computes those that it needs.

    OMP_NUM_THREADS=2 python tools/benchmark/inference.py --rounds 7
"""
# ruff: noqa: E402  (arguments are parsed before the imports that take seconds)
import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sizes', nargs='+', choices=['512', '800x1333', '1024'],
                        default=['512', '800x1333'])
    parser.add_argument('--confident', type=int, default=15,
                        help='number of queries with an object')
    parser.add_argument('--rounds', type=int, default=7, help='timings of each (default: 7)')
    parser.add_argument('--device', help='e.g. cuda or cpu (default: a GPU if there is one)')
    return parser.parse_args()


if __name__ == '__main__':
    ARGS = parse_args()

from collections.abc import Callable
from functools import partial

import torch
from mmdet.structures import DetDataSample
from peers import CLASSES, build_pair, make_features, region_masks
from timing import default_device, medians, row
from torch import Tensor

from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.structures.mask_logits import ProductMaskLogits

# padded input, image in it, file
SIZES = {
    '512': ((512, 512), (512, 512), (512, 512)),
    '800x1333': ((800, 1344), (800, 1333), (384, 640)),
    '1024': ((1024, 1024), (1024, 1024), (1024, 1024))}


def sure(cls_logits: Tensor, confident: int) -> Tensor:
    """Class logits with a high score of a class in the first queries, of no object in the rest."""
    made = torch.zeros_like(cls_logits)
    made[..., CLASSES] = 20
    queries = torch.arange(confident)
    made[:, queries, CLASSES] = 0
    made[:, queries, (queries * 7) % CLASSES] = 20
    return made


def parts(size: str, confident: int, device: str) -> dict[str, dict[str, Callable]]:
    """The functions to time: part -> side -> function."""
    padded, image, file = SIZES[size]
    pair = build_pair(device)
    for _, model in pair.items():
        model.eval()
    features = make_features(1, padded, device)
    meta = dict(batch_input_shape=padded, img_shape=image, ori_shape=file,
                scale_factor=(image[1] / file[1], image[0] / file[0]))
    samples = [DetDataSample(metainfo=meta)]
    theirs, ours = pair.mmdet.panoptic_head, pair.ours.panoptic_head
    their_fusion, our_fusion = pair.mmdet.panoptic_fusion_head, pair.ours.panoptic_fusion_head

    def their_post(cls_logits: Tensor, masks: Tensor) -> list:
        masks = torch.nn.functional.interpolate(
            masks, padded, mode='bilinear', align_corners=False)
        return their_fusion.predict(sure(cls_logits, confident), masks, samples, rescale=True)

    def our_post(cls_logits: Tensor, masks: ProductMaskLogits) -> list:
        return our_fusion.predict(sure(cls_logits, confident), masks, [meta], True, OutputOptions())

    def their_all() -> list:
        cls_logits, masks = theirs(features, samples)
        return their_post(cls_logits[-1], masks[-1])

    cls_logits, product = ours.predict(features)
    product = region_masks(product.size, device)
    dense = torch.stack([product.dense(-1, 0, torch.arange(100, device=device))])
    mask_features, maps = ours.decode_pixels(features)
    return {
        'pixel decoder': dict(mmdet=partial(theirs.pixel_decoder, features),
                              ours=partial(ours.decode_pixels, features)),
        'transformer decoder': dict(
            mmdet=partial(decode_theirs, theirs, mask_features, maps),
            ours=lambda: ours.classify(ours.decode_queries(mask_features, maps)[-1:],
                                       mask_features)),
        'post-processing': dict(mmdet=partial(their_post, cls_logits, dense),
                                ours=partial(our_post, cls_logits, product)),
        'everything behind the backbone': dict(
            mmdet=their_all, ours=lambda: our_post(*ours.predict(features)))}


def decode_theirs(head: torch.nn.Module, mask_features: Tensor, maps: list[Tensor]) -> list:
    """Mmdet's head without its pixel decoder."""
    decoder = head.pixel_decoder
    head._modules['pixel_decoder'] = _Given(mask_features, maps)
    try:
        return head([mask_features], [DetDataSample(metainfo=dict(batch_input_shape=(1, 1)))])
    finally:
        head._modules['pixel_decoder'] = decoder


class _Given(torch.nn.Module):
    """A pixel decoder with a given result."""

    def __init__(self, *result) -> None:
        super().__init__()
        self.result = result

    def forward(self, features: list[Tensor]) -> tuple:
        return self.result


def main(args: argparse.Namespace) -> None:
    args.device = args.device or default_device()
    with torch.no_grad():
        for size in args.sizes:
            for part, ways in parts(size, args.confident, args.device).items():
                print(row(f'{size} {part}', medians(ways, args.rounds), 'mmdet'), flush=True)


if __name__ == '__main__':
    main(ARGS)
