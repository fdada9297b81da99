"""Every kind of Panoptic SegFormer config trains and predicts, at reduced size."""
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config

from mmpanseg.registry import MODELS
from mmpanseg.structures.segment_map import SegmentMap

SIZE = (64, 96)
NAMES = [
    'panoptic_segformer_r50_8xb1-24e_coco-panoptic',
    'panoptic_segformer_r50_released-code_8xb1-24e_coco-panoptic',
    'panoptic_segformer_r50_8xb1-24e_coco-instance',
    'panoptic_segformer-v1_r50_8xb1-50e_coco-panoptic',
    'panoptic_segformer-v1_r50_8xb1-50e_coco-instance',
    'baselines/d-detr-ms_r50_8xb1-50e_coco-panoptic',
    'baselines/d-detr-ss_r50_8xb1-50e_coco-panoptic']
ABLATIONS = ['joint-queries', 'mass-center', 'center-scale', '1-filter-round', 'no-filter',
             'class-from-mask', '2-mask-layers', '6-mask-layers', '1-mask-head',
             'no-stuff-self-attention', 'sigmoid-masks']
NAMES += [f'ablations/panoptic_segformer_r50_{name}_8xb1-24e_coco-panoptic' for name in ABLATIONS]


def small(path) -> dict:
    """The model of a config, with ResNet-18, few channels and one layer in most places."""
    model = Config.fromfile(path).model
    model.backbone.update(depth=18, init_cfg=None)
    head = model.panoptic_head
    head.in_channels = [channels // 4 for channels in head.in_channels]
    head.update(channels=128, num_queries=20, max_per_image=10)
    head.pixel_decoder.update(num_layers=1, feedforward_channels=64)
    head.location_decoder.update(num_layers=2, feedforward_channels=64)
    return model


def sample_of(labels) -> DetDataSample:
    segment_map = torch.full(SIZE, -1, dtype=torch.int32)
    for number in range(len(labels)):
        segment_map[10 + 8 * number:40, 8 + 12 * number:40 + 12 * number] = number
    sample = DetDataSample(metainfo=dict(
        img_shape=SIZE, ori_shape=SIZE, batch_input_shape=SIZE))
    sample.gt_segments = SegmentMap(torch.tensor(labels), map=segment_map)
    return sample


def test_all_ablations_are_tried(repo_root):
    folder = repo_root / 'configs/panoptic_segformer/ablations'
    assert {path.stem for path in folder.glob('*.py')} == {
        name.split('/')[1] for name in NAMES if name.startswith('ablations')}


@pytest.mark.parametrize('name', NAMES)
def test_one_step(repo_root, name):
    torch.manual_seed(0)
    config = small(repo_root / f'configs/panoptic_segformer/{name}.py')
    model = MODELS.build(config)
    model.init_weights()
    stuff = config.num_stuff_classes > 0
    samples = [sample_of([3, 3, 100] if stuff else [3, 3, 7]), sample_of([1])]
    images = torch.randn(2, 3, *SIZE)
    losses = model.train().loss(images, samples)
    total = sum(losses.values())
    assert total.isfinite()
    total.backward()
    unused = [key for key, parameter in model.panoptic_head.named_parameters()
              if parameter.grad is None]
    # released checkpoints hold branches without a loss
    assert not unused or all('mask_decoder.' in key for key in unused), unused
    head = model.panoptic_head
    classifier = (head.mask_decoder if head.class_from == 'mask' else head.location_decoder)
    assert all(branch.weight.grad.any() for branch in classifier.cls_branches)
    model.eval()
    with torch.no_grad():
        result = model.predict(images, samples)[0]
    if stuff:
        assert result.pred_panoptic_seg.sem_seg.shape == (1, *SIZE)
    if config.get('test_cfg', {}).get('instance_on'):
        assert result.pred_instances.masks.shape[1:] == SIZE
