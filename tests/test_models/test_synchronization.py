"""Number of synchronizations of host and device, as in the design document.

Counted from a batch that is on the device already to losses and gradients, or to results.
"""
import warnings

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample

from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.models.task_modules import OneToOneAssigner
from mmpanseg.registry import MODELS
from mmpanseg.structures import SegmentMap
from mmpanseg.utils.device import to_device, to_host

from .pretended_device import DEVICE, FarTensor, PretendedDevice

SIZE = (96, 64)
MASK2FORMER = dict(
    in_channels=[8, 16, 32, 64], num_queries=8, channels=32, out_channels=32,
    pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=2,
                       feedforward_channels=64),
    transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=3,
                             feedforward_channels=64),
    criterion=dict(type='mmpanseg.MaskCriterion', num_points=64))
KMAX = dict(
    type='mmpanseg.KMaXDeepLabHead', in_channels=[8, 16, 32, 64], num_queries=6,
    query_channels=32, channels=32, embed_channels=16,
    transformer_decoder=dict(type='mmpanseg.KMeansDecoder', num_layers=(1, 1), base_channels=16,
                             ffn_channels=32))
SEGFORMER = dict(
    type='mmpanseg.PanopticSegFormerHead', in_channels=[16, 32, 64], num_queries=12, channels=32,
    pixel_decoder=dict(type='mmpanseg.DeformableTokenEncoder', num_layers=1,
                       feedforward_channels=64, norm_cfg=dict(type='GN', num_groups=8)),
    location_decoder=dict(type='mmpanseg.LocationDecoder', num_layers=2, feedforward_channels=64))
HEADS = {
    'mask2former': dict(MASK2FORMER, type='mmpanseg.Mask2FormerHead'),
    'mask2former, class loss over all processes': dict(
        MASK2FORMER, type='mmpanseg.Mask2FormerHead', criterion=dict(
            MASK2FORMER['criterion'], sync_cls_avg_factor=True)),
    'mp_former': dict(MASK2FORMER, type='mmpanseg.MPFormerHead'),
    'kmax_deeplab': dict(KMAX, criterion=dict(
        type='mmpanseg.KMaXCriterion', num_pixels=99, num_semantic_pixels=99)),
    'kmax_deeplab, matched by layer': dict(KMAX, criterion=dict(
        type='mmpanseg.KMaXCriterion', num_pixels=99, num_semantic_pixels=99,
        share_matching=False)),
    'panoptic_segformer': SEGFORMER,
    'panoptic_segformer, released': dict(
        SEGFORMER, mask_decoder=dict(num_layers=2, classify=True, locate=True),
        criterion=dict(stuff_cls_without_things=False, assigner=dict(num_rounds=1),
                       class_weight=[1.0, 2.0, 1.0, 0.5])),
    'panoptic_segformer, first version': dict(
        SEGFORMER, location='center_scale', filter_queries=False, class_from='mask',
        location_decoder=dict(num_layers=2, feedforward_channels=64, refine=False),
        mask_decoder=dict(num_layers=2, self_attention=True, tail=False),
        stuff_mask_decoder=None, criterion=dict(
            mask_cls_weight=1.0, mask_costs=[dict(type='mmpanseg.FocalClassificationCost'),
                                             dict(type='mmpanseg.SquaredDiceCost')])),
}
# as docs/design.md says
WAITS = {'mask2former': 1, 'mask2former, class loss over all processes': 1, 'mp_former': 1,
         'kmax_deeplab': 1, 'kmax_deeplab, matched by layer': 3,
         'panoptic_segformer': 3, 'panoptic_segformer, released': 3,
         'panoptic_segformer, first version': 2}
CLASSES = dict(num_things_classes=2, num_stuff_classes=2)


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    head = MODELS.build(dict(HEADS[name], **CLASSES))
    head.init_weights()
    return head


def features(name: str) -> list:
    return [torch.randn(2, channels, SIZE[0] * 2 // channels, SIZE[1] * 2 // channels)
            for channels in HEADS[name]['in_channels']]


def metainfos() -> list[dict]:
    return [dict(batch_input_shape=SIZE, img_shape=(96, 64), ori_shape=(120, 80)),
            dict(batch_input_shape=SIZE, img_shape=(90, 60), ori_shape=(90, 60))]


def samples(dense: bool = False) -> list[DetDataSample]:
    """Two images, one with four segments and one with none."""
    index = torch.full((96, 64), -1, dtype=torch.int32)
    index[10:50, :30], index[50:, 20:], index[:10], index[60:, :9] = 0, 1, 2, 3
    truths = [SegmentMap(torch.tensor([1, 3, 0, 3]), map=index),
              SegmentMap(torch.zeros(0, dtype=torch.long), map=torch.full_like(index, -1)[:90])]
    if dense:
        truths = [SegmentMap(truth.labels, masks=truth.dense()) for truth in truths]
    return [DetDataSample(metainfo=metainfo, gt_segments=truth)
            for metainfo, truth in zip(metainfos(), truths)]


def near(x: torch.Tensor) -> torch.Tensor:
    return x.host if isinstance(x, FarTensor) else x


@pytest.mark.parametrize('dense', [
    pytest.param(False, id='map'), pytest.param(True, id='masks', marks=pytest.mark.slow)])
@pytest.mark.parametrize('name', HEADS)
def test_training_step(name, dense):
    inputs, batch = features(name), samples(dense)
    with PretendedDevice() as device:
        head = build(name).to(DEVICE)
        inputs = [x.to(DEVICE) for x in inputs]
        batch = [sample.to(DEVICE) for sample in batch]
        head.loss(inputs, batch)  # constants of a size are computed once
        device.waits.clear()
        device.places.clear()
        losses = head.loss(inputs, batch)
        sum(losses.values()).backward()
        assert device.waits == {'to host': WAITS[name]}, device.places
    assert all(near(loss).isfinite() for loss in losses.values())


@pytest.mark.parametrize('name', ['kmax_deeplab', 'panoptic_segformer'])
def test_the_pretended_device_computes_what_the_cpu_does(name):
    """Disable random sampling: no dropout, and all pixels are sampled."""
    config = dict(HEADS[name])
    if name == 'kmax_deeplab':
        config['criterion'] = dict(type='mmpanseg.KMaXCriterion', num_pixels=9999,
                                   num_semantic_pixels=0)
    torch.manual_seed(0)
    head = MODELS.build(dict(config, **CLASSES)).eval()
    inputs, batch = features(name), samples()
    expected = head.loss(inputs, batch)
    with PretendedDevice():
        head = head.to(DEVICE)
        losses = head.loss([x.to(DEVICE) for x in inputs], [x.to(DEVICE) for x in batch])
    assert losses.keys() == expected.keys()
    for key, loss in losses.items():
        torch.testing.assert_close(near(loss), expected[key], rtol=1e-4, atol=1e-5)


FUSIONS = {  # head, fusion head, waits of an image's panoptic result
    'pixelwise': ('mask2former', dict(type='mmpanseg.PixelwiseFusionHead', object_mask_thr=0.2,
                                      iou_thr=0.1), 2),
    'mask_wise': ('mask2former', dict(type='mmpanseg.MaskWiseFusionHead', t_cnf=0.01), 4),
    'heuristic': ('mp_former', dict(type='mmpanseg.HeuristicFusionHead', score_thr=0.2,
                                    stuff_area_limit=10), 4),
    'kmax': ('kmax_deeplab', dict(type='mmpanseg.KMaXFusionHead', score_thr=0.05, mask_thr=0.1,
                                  overlap_thr=0.1), 3),
    'segformer': ('panoptic_segformer', dict(
        type='mmpanseg.MaskWiseFusionHead', score_activation='sigmoid', mask_activation='none',
        resize_once=True, t_cnf=0.001), 4)}
OUTPUTS = [  # options, waits beside those of the panoptic result
    (dict(), 0),
    (dict(panoptic_on=False, semantic_on=True), 0),
    (dict(panoptic_on=False, instance_on=True), 1),
    (dict(panoptic_on=False, instance_on=True, mask_format='rle'), 2),
    (dict(semantic_on=True, instance_on=True, mask_format='rle'), 2)]


@pytest.mark.parametrize('kind', FUSIONS)
def test_results(kind):
    name, fusion, panoptic = FUSIONS[kind]
    head = build(name).eval()
    for parameter in head.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    fusion = MODELS.build(dict(fusion, **CLASSES))
    inputs, metas = features(name), metainfos()

    def predict():
        return head.predict(inputs, metas) if name == 'panoptic_segformer' else (
            head.predict(inputs))

    with torch.no_grad():
        queries = predict()
        expected = [
            fusion.predict(*queries, metas, outputs=OutputOptions(max_per_image=20, **options))
            for options, _ in OUTPUTS]
        with PretendedDevice() as device:
            head, inputs = head.to(DEVICE), [x.to(DEVICE) for x in inputs]
            predict()
            device.waits.clear()
            queries = predict()
            assert not device.waits
            for (options, more), wanted in zip(OUTPUTS, expected):
                outputs = OutputOptions(max_per_image=20, **options)
                results = fusion.predict(*queries, metas, outputs=outputs)
                waits = more + panoptic * outputs.panoptic_on
                assert device.waits.total() == len(metas) * waits, device.places
                device.waits.clear()
                device.places.clear()
                for result, same in zip(results, wanted):
                    compare(result, same)


def compare(result: dict, expected: dict) -> None:
    assert result.keys() == expected.keys()
    for key in result.keys() - {'pred_instances'}:
        assert torch.equal(near(result[key].sem_seg), expected[key].sem_seg)
    if 'pred_instances' in result:
        ours, theirs = result['pred_instances'], expected['pred_instances']
        assert len(theirs.labels)
        for key in ('labels', 'bboxes', 'scores'):
            torch.testing.assert_close(near(ours[key]), theirs[key])
        if isinstance(theirs.masks, list):
            assert ours.masks == theirs.masks
        else:
            assert torch.equal(near(ours.masks), theirs.masks)


def test_the_count_finds_what_it_looks_for():
    with PretendedDevice() as device:
        x = torch.tensor([1., 0., 2.]).to(DEVICE)

        def waits(action) -> dict:
            device.waits.clear()
            action()
            return dict(device.waits)

        assert waits(lambda: x.sum().item()) == {'_local_scalar_dense': 1}
        assert waits(lambda: bool((x > 0).any())) == {'_local_scalar_dense': 1}
        assert waits(lambda: x.tolist()) == waits(lambda: x.cpu().numpy()) == {'to host': 1}
        assert waits(lambda: x.nonzero()) == waits(lambda: (x > 0).nonzero()) == {'nonzero': 1}
        assert waits(lambda: x[x > 0]) == {'boolean index': 1}
        assert waits(lambda: x[[0, 1]]) == {'index of the host': 1}
        assert waits(lambda: x.long().bincount()) == {'bincount': 1}
        assert waits(lambda: x.unique()) == {'_unique2': 1}
        for copy in (lambda: torch.tensor([1, 2], device=DEVICE), lambda: x.new_tensor([1.0]),
                     lambda: torch.as_tensor(np.arange(3), device=DEVICE),
                     lambda: torch.arange(3).to(DEVICE),
                     lambda: torch.arange(3).to(DEVICE, non_blocking=True),
                     lambda: torch.zeros(3, device=DEVICE).copy_(torch.arange(3))):
            assert waits(copy) == {'to device': 1}
        for free in (lambda: x.new_full((), 3.0), lambda: torch.arange(3, device=DEVICE),
                     lambda: x.masked_fill(x > 0, 1), lambda: x[torch.zeros_like(x).long()],
                     lambda: x.to(DEVICE), lambda: x.double(), lambda: x[1:].add_(1),
                     lambda: to_device(DEVICE, [1, 2], np.zeros(3))):
            assert waits(free) == {}
        with pytest.raises(RuntimeError, match='mul mixes tensors of the host and of the device'):
            x * torch.arange(3)
    assert not isinstance(torch.tensor([1.0]), FarTensor)


def test_staging_keeps_types_shapes_and_values():
    data = [[1, 2, 3], [0.5], np.zeros((0, 4), np.float32), np.arange(6).reshape(2, 3),
            np.array([], np.int64), np.array([True, False, True]), torch.arange(5).int(),
            np.arange(6.0).reshape(3, 2).T]
    expected = [torch.as_tensor(x) for x in data]
    with PretendedDevice() as device:
        staged = to_device(DEVICE, *data)
        assert not device.waits and all(isinstance(x, FarTensor) for x in staged)
        back = to_host(*staged)
        assert device.waits == {'to host': 1}
    for x, y in zip(back, expected, strict=True):
        assert x.dtype == y.dtype and torch.equal(x, y)
    for x, y in zip(to_device(torch.device('cpu'), *data), expected, strict=True):
        assert x.dtype == y.dtype and torch.equal(x, y)


def test_matches_go_over_together():
    costs = torch.rand(2, 3, 6, 4, generator=torch.Generator().manual_seed(0))
    expected = OneToOneAssigner()(costs, [4, 0, 2])
    with PretendedDevice() as device:
        matches = OneToOneAssigner()(costs.to(DEVICE), [4, 0, 2])
        assert device.waits == {'to device': 1, 'to host': 1}  # the first is this test's own
    assert matches.rows.splits == expected.rows.splits == [8, 0, 4]
    for ours, theirs in zip((*matches.rows[:3], matches.segment),
                            (*expected.rows[:3], expected.segment)):
        assert torch.equal(near(ours), theirs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('name', HEADS)
def test_cuda_says_the_same(name):
    head = build(name).cuda()
    inputs, batch = [x.cuda() for x in features(name)], [x.to('cuda') for x in samples()]
    sum(head.loss(inputs, batch).values()).backward()
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            sum(head.loss(inputs, batch).values()).backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    waits = [str(w.message) for w in caught if 'synchroniz' in str(w.message)]
    assert len(waits) == WAITS[name], waits
