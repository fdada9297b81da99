"""Loading of models for a predictor: class names, and models that are refused."""
import copy

import pytest
import torch

import mmpanseg
from mmpanseg.apis import PredictorError


@pytest.fixture(scope='module')
def checkpoint(system, tmp_path_factory):
    """Writes a checkpoint of the tiny Mask2Former, with changes: ``checkpoint(meta=...)``."""
    model, _ = system('mask2former')
    folder = tmp_path_factory.mktemp('checkpoints')

    def write(state=None, **entries):
        path = folder / f'{len(list(folder.iterdir()))}.pth'
        torch.save(dict(state_dict={**model.state_dict(), **(state or {})},
                        **{'meta': dict(dataset_meta=model.dataset_meta), **entries}), path)
        return path
    return write


@pytest.mark.parametrize(('options', 'text'), [
    (dict(overlap=8), 'overlap is given without tile'),
    (dict(tile=(32, 32), tta=True), 'tile and tta exclude each other'),
    (dict(tile=(32, )), r'tile=\(32,\) must be height and width'),
    (dict(tile=(32, 32), overlap=32), 'overlap'),
    (dict(device='cuda:99'), "device='cuda:99' cannot be used .*choose cpu"),
    (dict(device='gpu'), "device='gpu' cannot be used"),
    (dict(channel_order='bgra'), "channel_order='bgra' is unknown; choose one of rgb, bgr"),
    (dict(task='panoptik'), "task='panoptik' is unknown"),
    (dict(cfg_options={'model.test_cfg.panoptic': True}), 'model.test_cfg'),
    (dict(cfg_options={'model.num_things_classes': 3}), 'one of another model'),
    (dict(cfg_options={'tta_model.type': 'Other'}, tta=True), 'the tta_model of the config')])
def test_impossible_options_of_load(options, text, checkpoint, system_config):
    with pytest.raises((PredictorError, ValueError), match=text) as caught:
        mmpanseg.load(system_config('mask2former'), checkpoint(),
                      **{'device': 'cpu', **options})
    assert '\n' not in str(caught.value)


def test_config_without_weights(system_config):
    with pytest.raises(PredictorError, match='give a checkpoint, weights=FILE'):
        mmpanseg.load(system_config('mask2former'), device='cpu')


def test_other_classes(checkpoint, system_config, system):
    """No layer of a checkpoint that does not fit starts at random."""
    cfg = system_config('mask2former')
    state = {'panoptic_head.cls_embed.weight': torch.zeros(9, 16),
             'panoptic_head.cls_embed.bias': torch.zeros(9)}
    with pytest.raises(ValueError, match=r'cls_embed.* have another shape') as caught:
        mmpanseg.load(cfg, checkpoint(state), 'cpu')
    assert '\n' not in str(caught.value)
    names = dict(dataset_meta=dict(classes=('a', 'b')))
    with pytest.raises(ValueError, match='names 2 classes'):
        mmpanseg.load(cfg, checkpoint(meta=names), 'cpu')
    swapped = dict(dataset_meta=dict(classes=('dog', 'cat', 'grass', 'sky')))
    with pytest.raises(ValueError, match='the same classes in another order'):
        mmpanseg.load(cfg, checkpoint(meta=swapped), 'cpu')


def test_no_class_names(checkpoint, system_config, caplog):
    """Names of the config's data set, else numbers, and never COCO's; said once."""
    path = checkpoint(meta={})
    cfg = system_config('mask2former')
    with caplog.at_level('WARNING'):
        predictor = mmpanseg.load(cfg, path, 'cpu')
    assert predictor.classes == ('cat', 'dog', 'grass', 'sky')
    nameless = copy.deepcopy(cfg)
    nameless.test_dataloader.dataset.pop('metainfo')
    nameless.test_dataloader.dataset.type = 'mmpanseg.PanopticDataset'
    assert mmpanseg.load(nameless, path, 'cpu').classes == (
        'class 0', 'class 1', 'class 2', 'class 3')


def test_strict_meta(checkpoint, system_config):
    other = dict(dataset_meta=dict(classes=('cat', 'dog', 'grass', 'sea')))
    cfg = system_config('mask2former')
    mmpanseg.load(cfg, checkpoint(meta=other), 'cpu')
    with pytest.raises(ValueError, match=r'metainfo\.classes\[3\]'):
        mmpanseg.load(cfg, checkpoint(meta=other), 'cpu', strict_meta=True)


def test_models_of_other_libraries(checkpoint, system_config):
    cfg = system_config('mask2former')
    cfg.test_dataloader.dataset.pipeline[0] = dict(type='LoadImageFromNDArray')
    with pytest.raises(PredictorError, match='the test pipeline .* has no LoadImageFromFile'):
        mmpanseg.load(cfg, checkpoint(), 'cpu')
