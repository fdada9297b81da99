"""Results of what models return, against the inferencer's conversion and pictures."""
import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from pycocotools import mask as rle_tools

from mmpanseg.apis import PanopticInferencer
from mmpanseg.models.inference.test_cfg import read_test_cfg
from mmpanseg.registry import MODELS
from mmpanseg.results import result_from_sample

from ..small_models import spread_queries

META = dict(classes=('ball', 'sky', 'ground'), thing_classes=('ball', ),
            stuff_classes=('sky', 'ground'), palette=[(200, 60, 60), (90, 150, 220), (90, 160, 70)])


@pytest.fixture(scope='module')
def predicted(tiny_config, tmp_path_factory):
    """Samples of a photo by output, dicts and pictures of the inferencer for the same outputs."""
    folder = tmp_path_factory.mktemp('predicted')
    pixels = np.random.default_rng(3).integers(0, 255, (5, 8, 3)).astype(np.uint8)
    cv2.imwrite(str(folder / 'photo.png'), cv2.resize(pixels, (96, 64)))
    torch.manual_seed(0)
    cfg = Config.fromfile(tiny_config)
    model = MODELS.build(cfg.model)
    model.init_weights()
    spread_queries(model)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=META)),
               folder / 'tiny.pth')
    cfg.model.panoptic_fusion_head.iou_thr = 0.0
    inferencer = PanopticInferencer(cfg, str(folder / 'tiny.pth'), device='cpu')
    found = {}
    for name, options in dict(
            panoptic=dict(), instance=dict(panoptic_on=False, instance_on=True),
            encoded=dict(panoptic_on=False, instance_on=True, mask_format='rle'),
            semantic=dict(panoptic_on=False, semantic_on=True),
            all=dict(instance_on=True, semantic_on=True)).items():
        inferencer.model.outputs, _ = read_test_cfg(options)
        call = dict(return_vis=True, pred_score_thr=0.3)
        sample = inferencer(str(folder / 'photo.png'), return_datasamples=True, **call)
        dicts = inferencer(str(folder / 'photo.png'), **call)
        found[name] = (sample['predictions'][0], dicts['predictions'][0], dicts['visualization'][0])
    return found


def convert(sample, **options):
    return result_from_sample(sample, META['classes'], 1, palette=META['palette'], **options)


@pytest.mark.parametrize('name', ['panoptic', 'instance', 'encoded', 'semantic', 'all'])
def test_models_outputs(predicted, name):
    sample, expected, picture = predicted[name]
    result = convert(sample, speed=dict(forward=3))
    keys = dict(panoptic='panoptic_seg', instance='instances', encoded='instances',
                semantic='sem_seg')
    assert set(expected) - {'segments_info'} == (
        set(keys.values()) if name == 'all' else {keys[name]})
    if 'panoptic_seg' in expected:
        assert (result.panoptic_map == expected['panoptic_seg']).all()
        assert [dict(id=s.id, label=s.label, class_name=s.name, isthing=s.is_thing, score=s.score)
                for s in result.panoptic_segments] == expected['segments_info']
        assert len(result) >= 2
    if 'instances' in expected:
        assert [dict(label=s.label, class_name=s.name, score=s.score, bbox=list(s.box),
                     mask=s.rle()) for s in result.instances] == expected['instances']
        assert all(s.area == rle_tools.area(s.rle()) for s in result.instances)
        assert len(result.instances) >= 2
    if 'sem_seg' in expected:
        assert (result.semantic_map == expected['sem_seg']).all()
    assert result.path.endswith('photo.png') and result.image.shape == (64, 96, 3)
    assert (result.plot() == picture).all()


def test_keywords_are_passed_on(predicted):
    sample = predicted['panoptic'][0]
    image = np.zeros((64, 96, 3), np.uint8)
    result = convert(sample, image=image, path='other.png', image_id=4, category_ids=[7, 8, 9])
    assert result.image is image and result.path == 'other.png' and result.image_id == 4
    assert {info['category_id'] for info in result.to_coco_panoptic()[1]['segments_info']} <= {
        7, 8, 9}


def test_no_masks():
    sample = DetDataSample(metainfo=dict(ori_shape=(4, 5)))
    with pytest.raises(ValueError, match='no pred_panoptic_seg, no pred_sem_seg and no masks'):
        convert(sample)


def test_another_size(predicted):
    sample = predicted['semantic'][0].clone()
    sample.set_metainfo(dict(ori_shape=(65, 96)))
    with pytest.raises(ValueError, match='64 x 96 pixels .*, the image 65 x 96'):
        convert(sample)
