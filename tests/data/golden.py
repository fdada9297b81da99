"""Tiny models of every system: their checkpoints, and what they computed when these were written.

The files beside this one were written by version 0.1.0, whose results equal those of the published
code; ``test_golden.py`` compares every later version with them. A new entry of ``CASES`` gets its
files by ``python tests/data/golden.py NAME``; existing files are never written again.

Weights are rounded to half precision, so that files are small, and computations run in double
precision: results then do not depend on the order in which a processor adds, and the thresholds
inside the decoders cut at the same places everywhere. Only the losses of Panoptic SegFormer, whose
boxes are float32, are in single precision.
"""
import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from torch import nn

import mmpanseg
from mmpanseg.models.heads import PanopticSegFormerHead
from mmpanseg.registry import MODELS
from mmpanseg.structures.segment_map import SegmentMap

FOLDER = Path(__file__).resolve().parent
NUM_THINGS, NUM_STUFF = 2, 2
SIZE = (64, 96)
NORMALIZE = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
WIDTHS = [2, 4, 8, 16]
RESNET = dict(type='ResNet', depth=18, base_channels=2)
LAYER = dict(num_layers=2, num_heads=2, feedforward_channels=16)
GROUPS = dict(norm_cfg=dict(type='GN', num_groups=4))
TEST = dict(panoptic_on=True, instance_on=True, semantic_on=True)

MASK2FORMER = dict(
    data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32, **NORMALIZE),
    backbone=RESNET,
    panoptic_head=dict(
        type='mmpanseg.Mask2FormerHead', in_channels=WIDTHS, num_queries=8, channels=16,
        out_channels=16,
        pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', **LAYER, **GROUPS),
        transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', **LAYER),
        criterion=dict(type='mmpanseg.MaskCriterion', num_points=64)),
    panoptic_fusion_head=dict(
        type='mmpanseg.PixelwiseFusionHead', object_mask_thr=0.0, iou_thr=0.3))
SEGFORMER = dict(
    data_preprocessor=dict(type='DetDataPreprocessor', **NORMALIZE),
    backbone=dict(RESNET, out_indices=(1, 2, 3)),
    panoptic_head=dict(
        type='mmpanseg.PanopticSegFormerHead', in_channels=WIDTHS[1:], num_queries=8, channels=16,
        max_per_image=8,
        pixel_decoder=dict(
            type='mmpanseg.DeformableTokenEncoder', dropout=0.0, **LAYER, **GROUPS),
        location_decoder=dict(type='mmpanseg.LocationDecoder', dropout=0.0, **LAYER),
        mask_decoder=dict(
            type='mmpanseg.MaskAttentionDecoder', num_layers=2, num_heads=2,
            classify=True, locate=True),
        stuff_mask_decoder=dict(
            type='mmpanseg.MaskAttentionDecoder', num_layers=2, num_heads=2,
            self_attention=True, query_pos_mode='accumulate')),
    panoptic_fusion_head=dict(
        type='mmpanseg.MaskWiseFusionHead', t_cnf=0.0, t_keep=0.3, score_activation='sigmoid',
        mask_activation='none', resize_once=True))
KMAX = dict(
    data_preprocessor=dict(type='mmpanseg.FixedSizeDataPreprocessor', size=None,
                           mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True),
    backbone=dict(type='mmpanseg.KMaXResNet', depth=18, base_channels=2),
    panoptic_head=dict(
        type='mmpanseg.KMaXDeepLabHead', in_channels=WIDTHS, num_queries=8, query_channels=16,
        channels=8, embed_channels=8,
        pixel_decoder=dict(type='mmpanseg.KMaXPixelDecoder', num_blocks=(1, 1, 1, 1),
                           base_channels=(8, 8, 8, 8)),
        transformer_decoder=dict(type='mmpanseg.KMeansDecoder', num_layers=(1, 1, 1),
                                 base_channels=8, ffn_channels=16),
        semantic_head=dict(type='mmpanseg.KMaXSemanticHead', channels=8,
                           low_level_channels=(4, 4)),
        criterion=dict(type='mmpanseg.KMaXCriterion', num_pixels=64, num_semantic_pixels=64)),
    panoptic_fusion_head=dict(
        type='mmpanseg.KMaXFusionHead', score_thr=0, overlap_thr=0, mask_thr=0.1))


def _changed(config: dict, **head: object) -> dict:
    """A copy with other entries of the head; those that are dicts are updated."""
    config = copy.deepcopy(config)
    for key, value in head.items():
        if isinstance(value, dict):
            config['panoptic_head'][key].update(value)
        else:
            config['panoptic_head'][key] = value
    return config


DETECTION_COSTS = [dict(type='mmpanseg.FocalClassificationCost', weight=2.0),
                   dict(type='mmpanseg.LocationL1Cost', weight=5.0),
                   dict(type='mmpanseg.LocationGIoUCost', weight=2.0)]
CASES = dict(
    mask2former=MASK2FORMER,
    mask2former_smca=_changed(MASK2FORMER, transformer_decoder=dict(cross_attention='smca')),
    mp_former=_changed(MASK2FORMER, type='mmpanseg.MPFormerHead', query_pos='none'),
    panoptic_segformer=SEGFORMER,
    detr_panoptic=dict(
        SEGFORMER, backbone=RESNET,
        panoptic_head=dict(
            type='mmpanseg.DETRPanopticHead', in_channels=WIDTHS, encoder_maps=1, num_queries=8,
            channels=128, max_per_image=6,
            pixel_decoder=dict(type='mmpanseg.DeformableTokenEncoder', num_levels=1, dropout=0.0,
                               **dict(LAYER, num_layers=1)),
            location_decoder=dict(
                type='mmpanseg.LocationDecoder', dropout=0.0, **dict(LAYER, num_layers=1)),
            mask_decoder=dict(type='mmpanseg.DETRMaskDecoder', num_heads=8),
            criterion=dict(
                type='mmpanseg.PanopticSegFormerCriterion', location_costs=DETECTION_COSTS,
                mask_costs=DETECTION_COSTS)),
        panoptic_fusion_head=dict(
            type='mmpanseg.PixelwiseFusionHead', object_mask_thr=0.0, iou_thr=0.0, weighted=False,
            filter_low_score=False, score_activation='sigmoid', mask_activation='none')),
    kmax_deeplab=KMAX)


def model_config(name: str) -> dict:
    """Config of a case's model."""
    return dict(CASES[name], type='mmpanseg.MaskTransformer', num_things_classes=NUM_THINGS,
                num_stuff_classes=NUM_STUFF, test_cfg=TEST)


def make_sample(flip: bool = False) -> DetDataSample:
    """Ground truth: two things before a stuff class, and some void; flipped without one thing."""
    index = torch.full(SIZE, -1, dtype=torch.int32)
    index[:, 8:] = 2
    index[8:40, 16:56] = 0
    index[36:60, 60:90] = 1
    if flip:
        index = index.flip(-1).where(index.flip(-1) != 1, -1)
    return DetDataSample(
        metainfo=dict(img_shape=SIZE, ori_shape=SIZE, img_path='golden.png'),
        gt_segments=SegmentMap(torch.tensor([0, 1, 3]), map=index))


def make_image() -> torch.Tensor:
    """uint8 [3, H, W] without random numbers: stripes, a ramp and two blocks."""
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing='ij')
    image = torch.stack([(x * 5) % 256, (x + y * 3) % 256, 40 + (x // 8 + y // 8) % 2 * 150])
    image[:, 8:40, 16:56] = torch.tensor([220, 60, 90])[:, None, None]
    image[:, 36:60, 60:90] += 30
    return image.clamp(max=255).to(torch.uint8)


def make_batch() -> dict:
    """The image and its mirror image, before preprocessing."""
    return dict(inputs=[make_image(), make_image().flip(-1)],
                data_samples=[make_sample(), make_sample(flip=True)])


def in_single_precision(model: nn.Module) -> bool:
    """Whether a model trains in single precision only: costs of boxes, which are float32."""
    return isinstance(model.panoptic_head, PanopticSegFormerHead)


def compute(model: nn.Module) -> dict[str, np.ndarray]:
    """Outputs, losses and norms of gradients of a model, in double precision where it can train so.

    Args:
        model: with loaded weights; its weights and buffers are not changed.

    Returns:
        arrays by name: ``cls_logits`` [Q, K + 1], ``mask_logits`` [Q, h, w], ``panoptic`` [H, W],
        ``semantic`` [H, W], ``scores``, ``labels`` and ``areas`` of instances; ``loss.NAME``;
        ``grad_norm.PART``, of all parameters of a part of the model.
    """
    trained, model = copy.deepcopy(model), copy.deepcopy(model).double().eval()
    batch = make_batch()
    with torch.no_grad():
        data = model.data_preprocessor(copy.deepcopy(batch), False)
        cls_logits, masks = model.predict_queries(
            data['inputs'].double(), [sample.metainfo for sample in data['data_samples']])
        result, _ = model.test_step(copy.deepcopy(batch))
    queries = torch.arange(cls_logits.shape[1])
    found = dict(
        cls_logits=cls_logits[0], mask_logits=masks.dense(-1, 0, queries),
        panoptic=result.pred_panoptic_seg.sem_seg[0],
        semantic=result.pred_sem_seg.sem_seg[0],
        scores=result.pred_instances.scores, labels=result.pred_instances.labels,
        areas=result.pred_instances.masks.flatten(1).sum(1))
    if not in_single_precision(trained):
        trained.double()
    trained.train()
    torch.manual_seed(0)
    data = trained.data_preprocessor(batch, True)
    losses = trained.loss(data['inputs'], data['data_samples'])
    found |= {f'loss.{name}': loss.detach() for name, loss in losses.items()}
    sum(losses.values()).backward()
    norms: dict[str, torch.Tensor] = {}
    for name, parameter in trained.named_parameters():
        part = '.'.join(name.split('.')[:2])
        norms[part] = norms.get(part, 0) + parameter.grad.square().sum()
    found |= {f'grad_norm.{part}': norm.sqrt() for part, norm in norms.items()}
    return {name: torch.as_tensor(value).numpy() for name, value in found.items()}


def train(model: nn.Module, steps: int) -> None:
    """Train on the two images, until segments can be told from each other."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(steps):
        data = model.data_preprocessor(make_batch(), True)
        losses = model.loss(data['inputs'], data['data_samples'])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def write(name: str, steps: int) -> None:
    """Write the checkpoint of a case and what it computes.

    Raises:
        FileExistsError: the case has files.
    """
    weights, results = FOLDER / f'checkpoints/{name}.pth', FOLDER / f'golden/{name}.npz'
    if weights.exists() or results.exists():
        raise FileExistsError(f'{weights} or {results} exists: a case keeps its files')
    torch.manual_seed(sum(map(ord, name)))
    model = MODELS.build(model_config(name))
    model.init_weights()
    with torch.no_grad():
        # values that start at zero or one would hide mistakes
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    train(model, steps)
    state = {key: value.half() if value.is_floating_point() else value
             for key, value in model.state_dict().items()}
    weights.parent.mkdir(exist_ok=True)
    results.parent.mkdir(exist_ok=True)
    torch.save(dict(
        meta=dict(iter=steps, mmpanseg_version=mmpanseg.__version__, dataset_meta=dict(
            classes=('car', 'person', 'road', 'sky'))), state_dict=state), weights)
    model.load_state_dict(state)
    np.savez_compressed(results, **compute(model))


def main() -> None:
    """Write the files of the cases named."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('names', nargs='+', choices=list(CASES), help='cases without files')
    init_default_scope('mmdet')
    parser.add_argument('--steps', type=int, default=300, help='of training')
    arguments = parser.parse_args()
    for name in arguments.names:
        write(name, arguments.steps)


if __name__ == '__main__':
    main()
