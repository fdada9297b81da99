"""Test-time augmentation of a model that predicts exact masks."""
import numpy as np
import pytest
import torch
from mmcv.transforms import TestTimeAug as Augment
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate


def tta_batch(image, *flips):
    """What TestTimeAug and the data loader give for one image."""
    def flip(flag):
        def transform(results):
            results = dict(results, flip=flag)
            if flag:
                results['img'] = results['img'][:, ::-1]
                results['flip_direction'] = 'horizontal'
            return results
        return transform

    def pack(results):
        size = results['img'].shape[:2]
        meta = dict(img_shape=size, ori_shape=size, flip=results['flip'],
                    flip_direction=results.get('flip_direction'))
        return dict(inputs=torch.from_numpy(results['img'].copy()).permute(2, 0, 1),
                    data_samples=DetDataSample(metainfo=meta))

    pipeline = Augment(transforms=[[flip(flag) for flag in flips], [pack]])
    return pseudo_collate([pipeline(dict(img=image)) for _ in range(2)])


def test_model_undoes_flips(colors):
    image = np.zeros((21, 30, 3), dtype=np.uint8)
    image[:, :12] = colors.color(2)
    image[5:15, 3:9] = colors.color(0, 1)
    image[8:20, 14:29] = colors.color(1, 2)
    module = colors.model(instance_on=True, semantic_on=True)
    model = MODELS.build(dict(type='mmpanseg.PanopticTTAModel', module=module))
    assert model.num_things_classes == 2
    with torch.no_grad():
        samples = model.test_step(tta_batch(image, False, True))
    expected = colors.predict(module, image)
    assert len(samples) == 2
    for sample in samples:
        assert 'view' not in sample and sample.flip is False
        assert torch.equal(sample.pred_panoptic_seg.sem_seg, expected.pred_panoptic_seg.sem_seg)
        assert torch.equal(sample.pred_sem_seg.sem_seg, expected.pred_sem_seg.sem_seg)
        for name in ('masks', 'labels', 'bboxes'):
            assert torch.equal(sample.pred_instances[name], expected.pred_instances[name])


def test_not_with_tiles(colors):
    with pytest.raises(ValueError, match="needs model.test_cfg.mode='whole'"):
        MODELS.build(dict(type='mmpanseg.PanopticTTAModel', module=colors.model(mode='tile')))
