"""kMaX-DeepLab as a whole on images of several sizes: all outputs, tiles, augmented views."""
import pytest
import torch
from mmdet.structures import DetDataSample

from mmpanseg.models.inference.test_cfg import Outputs
from mmpanseg.models.segmentors.mask_transformer import MaskTransformer


def build(**test_cfg) -> MaskTransformer:
    torch.manual_seed(0)
    model = MaskTransformer(
        2, 2, dict(type='mmpanseg.KMaXResNet', depth=18, base_channels=8),
        dict(type='mmpanseg.KMaXDeepLabHead', in_channels=[8, 16, 32, 64], num_queries=6,
             query_channels=16, channels=16, embed_channels=8,
             pixel_decoder=dict(type='mmpanseg.KMaXPixelDecoder', num_blocks=(1, 1, 1, 1),
                                base_channels=(8, 8, 8, 8)),
             transformer_decoder=dict(type='mmpanseg.KMeansDecoder', num_layers=(1, 1, 1),
                                      base_channels=8, ffn_channels=16),
             semantic_head=None),
        dict(type='mmpanseg.KMaXFusionHead', score_thr=0, overlap_thr=0, mask_thr=0.1),
        test_cfg=dict(dict(panoptic_on=True, instance_on=True, semantic_on=True), **test_cfg))
    # "no object" is likely at first
    for name, buffer in model.named_buffers():
        if name.endswith('cls_offset'):
            buffer.zero_()
    # the masks' norm starts at a tenth, so that masks are flat
    model.panoptic_head.predictor.mask_norm.weight.data.fill_(5)
    return model.eval()


def sample_of(padded, cut, original) -> DetDataSample:
    return DetDataSample(metainfo=dict(
        batch_input_shape=padded, img_shape=cut, ori_shape=original, flip=False))


@pytest.mark.parametrize('padded', [(65, 65), (64, 96), (50, 75)])
@pytest.mark.parametrize('autocast', [False, True])
def test_outputs_have_the_original_size(padded, autocast):
    model = build()
    samples = [sample_of(padded, padded, (40, 60)),
               sample_of(padded, (padded[0] - 9, padded[1] - 3), (77, 33))]
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        results = model.predict(torch.randn(2, 3, *padded), samples)
    for result, size in zip(results, ((40, 60), (77, 33))):
        assert result.pred_panoptic_seg.sem_seg.shape == (1, *size)
        assert result.pred_sem_seg.sem_seg.shape == (1, *size)
        assert result.pred_instances.masks.shape[1:] == size
        values = set(result.pred_panoptic_seg.sem_seg.unique().tolist())
        ids = {segment['id'] for segment in result.pred_panoptic_seg.metainfo['segments_info']}
        assert ids and values - {model.num_classes} == ids


def test_an_image_alone_is_as_in_a_batch():
    model = build()
    images = torch.randn(2, 3, 65, 97)
    samples = [sample_of((65, 97), (60, 97), (60, 97)) for _ in images]
    both = model.predict(images, samples)
    for image, sample in zip(images, samples):
        alone, = model.predict(image[None], [sample_of((65, 97), (60, 97), (60, 97))])
        assert torch.equal(alone.pred_panoptic_seg.sem_seg, sample.pred_panoptic_seg.sem_seg)
    assert len(both) == 2


def test_tiles_of_a_larger_image():
    model = build(mode='tile', tile=(64, 64), overlap=16)
    image, size = torch.randn(1, 3, 100, 130), (100, 130)
    result, = model.predict(image, [sample_of(size, size, size)])
    seg = result.pred_panoptic_seg.sem_seg
    assert seg.shape == (1, *size)
    ids = {segment['id'] for segment in result.pred_panoptic_seg.metainfo['segments_info']}
    assert ids and set(seg.unique().tolist()) - {model.num_classes} == ids
    # no other tile reaches the first corner
    first, = build().predict(image[..., :64, :64], [sample_of((64, 64), (64, 64), (64, 64))])
    corner = result.pred_sem_seg.sem_seg[..., :40, :40]
    assert torch.equal(corner, first.pred_sem_seg.sem_seg[..., :40, :40])


def test_equal_views_give_what_one_of_them_gives():
    model = build()
    features = model.extract_feat(torch.randn(1, 3, 65, 65))
    with torch.no_grad():
        prediction = model.panoptic_head.predict(features)
    view, = model.panoptic_fusion_head.views(
        *prediction, [dict(batch_input_shape=(65, 65), img_shape=(65, 50), ori_shape=(70, 60))])
    outputs = Outputs(instance_on=True, semantic_on=True)
    one = model.panoptic_fusion_head.fuse([view], outputs)
    two = model.panoptic_fusion_head.fuse([view, view], outputs)
    for name in ('pred_panoptic_seg', 'pred_sem_seg'):
        assert torch.equal(one[name].sem_seg, two[name].sem_seg)
    assert torch.equal(one['pred_instances'].masks, two['pred_instances'].masks)
