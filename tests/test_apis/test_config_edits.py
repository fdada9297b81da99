"""Configs changed for tiles and for test-time augmentation."""
import numpy as np
import pytest
from mmcv.transforms import Resize
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose

from mmpanseg.apis import make_tta_pipeline, use_tiles, use_tta

PACK = dict(type='mmpanseg.PackPanopticInputs')
LOAD = dict(type='mmpanseg.LoadPanopticMap')


def config(*steps, **extra):
    pipeline = [dict(type='LoadImageFromFile'), *steps, LOAD, PACK]
    return Config(dict(model=dict(type='mmpanseg.MaskTransformer', test_cfg=dict(instance_on=True)),
                       test_dataloader=dict(dataset=dict(
                           type='RepeatDataset', dataset=dict(pipeline=pipeline))), **extra))


def views(pipeline, image):
    """Sizes and flips that the steps behind the loading give."""
    results = dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
    packed = Compose(pipeline[1:])(results)
    return [(tuple(x.shape[1:]), sample.flip) for x, sample in zip(
        packed['inputs'], packed['data_samples'])]


def test_scales_are_relative_to_the_test_size():
    resize = dict(type='Resize', scale=(64, 32), keep_ratio=True)
    pipeline = make_tta_pipeline([dict(type='LoadImageFromFile'), resize, LOAD, PACK], (1, 0.5))
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    assert views(pipeline, image) == [
        ((32, 48), False), ((32, 48), True), ((16, 24), False), ((16, 24), True)]
    assert resize['scale'] == (64, 32)


def test_scales_are_relative_to_the_file_without_resize():
    pipeline = make_tta_pipeline([dict(type='LoadImageFromFile'), LOAD, PACK], (1, 1.5), False)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    assert views(pipeline, image) == [((40, 60), False), ((60, 90), False)]


def test_flipped_view_is_the_mirror_image():
    pipeline = make_tta_pipeline([dict(type='LoadImageFromFile'), PACK])
    image = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    plain, flipped = Compose(pipeline[1:])(dict(img=image, img_shape=(10, 12)))['inputs']
    assert (plain == flipped.flip(-1)).all() and (plain != flipped).any()


def test_model_is_wrapped():
    cfg = config(dict(type='Resize', scale=(64, 32), keep_ratio=True), tta_scales=(1.0, 2.0))
    use_tta(cfg)
    assert cfg.model.type == 'mmpanseg.PanopticTTAModel'
    assert cfg.model.module.test_cfg.instance_on
    augment = cfg.test_dataloader.dataset.dataset.pipeline[1]
    assert [step['scale'] for step in augment['transforms'][0]] == [(64, 32), (128, 64)]


def test_given_pipeline_is_taken():
    given = [dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=[[PACK]])]
    cfg = config(tta_pipeline=given, tta_model=dict(type='Other'))
    use_tta(cfg)
    assert cfg.model.type == 'Other'
    assert cfg.test_dataloader.dataset.dataset.pipeline == given


def test_tiles_keep_the_size_of_the_file():
    cfg = config(dict(type='Resize', scale=(64, 32), keep_ratio=True))
    use_tiles(cfg, (256, 512))
    assert cfg.model.test_cfg == dict(
        instance_on=True, mode='tile', tile=(256, 512), overlap=32)
    types = [step['type'] for step in cfg.test_dataloader.dataset.dataset.pipeline]
    assert types == ['LoadImageFromFile', LOAD['type'], PACK['type']]


def test_mistakes():
    with pytest.raises(ValueError, match='Resize without scale'):
        make_tta_pipeline([dict(type='Resize')])
    cfg = Config(dict(model=dict(), test_dataloader=dict(dataset=dict(type='X'))))
    with pytest.raises(ValueError, match='has no pipeline'):
        use_tta(cfg)
    assert isinstance(cfg.model, ConfigDict)


@pytest.mark.parametrize('kind', ['FixScaleResize', 'mmdet.FixScaleResize', 'mmcv.Resize', Resize])
def test_every_kind_of_resize_is_found(kind):
    step = dict(type=kind, scale=(64, 32), keep_ratio=True)
    pipeline = make_tta_pipeline([dict(type='LoadImageFromFile'), step, LOAD, PACK], (1, 2), False)
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    assert views(pipeline, image) == [((32, 48), False), ((64, 96), False)]
    cfg = config(step)
    use_tiles(cfg, (8, 8))
    left = [step['type'] for step in cfg.test_dataloader.dataset.dataset.pipeline]
    assert left == ['LoadImageFromFile', LOAD['type'], PACK['type']]


@pytest.mark.parametrize('steps, text', [
    ([dict(type='RandomResize', scale=(64, 32))], 'has RandomResize, .* give tta_pipeline'),
    ([dict(type='Resize', scale=(64, 32)), dict(type='FixScaleResize', scale=(8, 8))],
     r'several steps that change the size \(Resize, FixScaleResize\)'),
    ([dict(type='TestTimeAug', transforms=[])], 'has TestTimeAug')])
def test_pipelines_that_no_views_are_made_of(steps, text):
    with pytest.raises(ValueError, match=text):
        make_tta_pipeline([dict(type='LoadImageFromFile'), *steps, PACK])
    with pytest.raises(ValueError, match='no LoadImageFromFile'):
        make_tta_pipeline([PACK])
