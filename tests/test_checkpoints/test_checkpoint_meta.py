"""What checkpoints say about themselves, and the comparison with a config."""
import copy
import logging

import pytest
from mmengine.config import Config

from mmpanseg.checkpoints import CheckpointError
from mmpanseg.checkpoints.checkpoint_meta import SETTINGS, checkpoint_config, image_settings
from mmpanseg.checkpoints.meta_comparison import (
    class_differences,
    report_differences,
    setting_differences,
)

PREPROCESSOR, PIPELINE = 'model.data_preprocessor.', 'test_dataloader.dataset.pipeline '
DEMO = 'configs/mask2former/mask2former_r18_1xb4-scratch-demo_scenes-panoptic.py'


def config(scale=(96, 64), **options):
    """The parts of a config that determine the image of the network."""
    preprocessor = dict(type='DetDataPreprocessor', mean=[1.5, 2.5, 3.5], std=[4., 5., 6.],
                        bgr_to_rgb=True, pad_size_divisor=32)
    return dict(
        model=dict(num_things_classes=1, num_stuff_classes=1,
                   data_preprocessor={**preprocessor, **options}),
        test_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=dict(pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=scale, keep_ratio=True),
            dict(type='mmpanseg.PackPanopticInputs')]))))


def meta_of(content):
    """The meta of a training with a config."""
    return dict(cfg=Config(content).pretty_text)


def test_every_config_is_read_back(repo_root):
    for path in ('configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py', DEMO):
        cfg = Config.fromfile(repo_root / path)
        found = checkpoint_config(dict(cfg=cfg.pretty_text))
        assert Config(found).to_dict() == cfg.to_dict()
    assert checkpoint_config(dict(cfg=dict(model=dict(a=1)))) == dict(model=dict(a=1))


@pytest.mark.parametrize('meta', [
    None, {}, [], dict(cfg=None), dict(cfg=3), dict(cfg='model = ('), dict(cfg='\0'),
    dict(cfg='import os\nmodel = 1'), dict(cfg='a.b = 1'),
    dict(cfg='for i in range(3):\n    a = i'),
    dict(cfg='(' * 5000 + ')' * 5000)])
def test_what_is_no_config(meta):
    assert checkpoint_config(meta) is None


def test_code_is_not_executed(tmp_path):
    file = tmp_path / 'executed'
    text = (f'a = open({str(file)!r}, "w")\nb = dict(c=__import__("os").getcwd())\n'
            'd = dict(open, e=1)\nf = [x for x in (1,)]\ng = dict(h=-1.5, i=(True, None))\n')
    assert checkpoint_config(dict(cfg=text)) == dict(g=dict(h=-1.5, i=(True, None)))
    assert not file.exists()


def test_equal_configs():
    assert setting_differences(meta_of(config()), config()) == []
    # tuples, lists, numbers of another type, the rounding of published values
    other = config(mean=(1.5001, 2.5, 3.5), std=(4, 5, 6), pad_value=0)
    assert setting_differences(meta_of(config()), other) == []


@pytest.mark.parametrize('change, key, known, found', [
    (dict(bgr_to_rgb=False), PREPROCESSOR + 'bgr_to_rgb', True, False),
    (dict(mean=[0., 0., 0.]), PREPROCESSOR + 'mean', [1.5, 2.5, 3.5], [0., 0., 0.]),
    (dict(std=None), PREPROCESSOR + 'std', [4., 5., 6.], None),
    (dict(pad_size_divisor=1), PREPROCESSOR + 'pad_size_divisor', 32, 1),
    (dict(pad_value=114), PREPROCESSOR + 'pad_value', 0, 114),
    (dict(type='mmpanseg.FixedSizeDataPreprocessor', size=(65, 65)), PREPROCESSOR + 'size', None,
     [65, 65]),
    (dict(scale=(640, 64)), PIPELINE + 'Resize.scale', [96, 64], [640, 64])])
def test_differences(change, key, known, found):
    other = config(**change)
    for meta in (meta_of(config()), {SETTINGS: image_settings(config())}):
        lines = setting_differences(meta, other)
        assert f'{key} is {known!r} in the checkpoint, {found!r} here' in lines
        assert len(lines) == 1 + ('type' in change)
    compared = setting_differences(meta_of(config()), other, fine_tuning=True)
    assert bool(compared) == (key.rpartition('.')[2] in ('bgr_to_rgb', 'mean', 'std'))


def test_rgb_to_bgr_swaps_as_well():
    meta = meta_of(config())
    assert setting_differences(meta, config(bgr_to_rgb=False, rgb_to_bgr=True)) == []


def test_color_type_and_ratio():
    other = copy.deepcopy(config())
    steps = other['test_dataloader']['dataset']['dataset']['pipeline']
    steps[0]['color_type'] = 'grayscale'
    steps[1]['keep_ratio'] = False
    assert setting_differences(meta_of(config()), other) == [
        f"{PIPELINE}LoadImageFromFile.color_type is 'color' in the checkpoint, 'grayscale' here",
        f'{PIPELINE}Resize.keep_ratio is True in the checkpoint, False here']
    del steps[0]['color_type'], steps[1]
    assert len(setting_differences(meta_of(config()), other)) == 2


def test_sizes_of_tiles_and_views_are_not_compared():
    tiled, views = config(scale=(1, 1)), config(scale=(1, 1))
    tiled['model']['test_cfg'] = dict(mode='tile', tile=(8, 8))
    dataset = views['test_dataloader']['dataset']['dataset']
    dataset['pipeline'] = [dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=[])]
    views['model'] = dict(type='mmpanseg.PanopticTTAModel', module=views['model'])
    assert setting_differences(meta_of(config()), tiled) == []
    assert setting_differences(meta_of(config()), views) == []
    views['model']['module']['data_preprocessor']['bgr_to_rgb'] = False
    assert len(setting_differences(meta_of(config()), views)) == 1


@pytest.mark.parametrize('meta', [
    None, {}, dict(cfg='data = dict(test=1)'), dict(cfg='model = 3\ntest_dataloader = [1]'),
    dict(cfg='model = dict(data_preprocessor=7)\n'
         'test_dataloader = dict(dataset=dict(datasets=[]))'),
    {SETTINGS: 5}, {SETTINGS: {}}])
def test_checkpoints_that_do_not_tell(meta):
    assert setting_differences(meta, config()) == []
    assert class_differences(meta, ('a', 'b'), 1) == []


def test_classes():
    def differences(classes, things=None, **meta):
        described = dict(classes=classes)
        if things is not None:
            described.update(thing_classes=classes[:things], stuff_classes=classes[things:])
        return class_differences(dict(dataset_meta=described, **meta), ('a', 'b', 'c'), 2)

    assert differences(('a', 'b', 'c')) == differences(['a', 'b', 'c'], 2) == []
    assert differences(('a', 'x', 'y')) == [
        "metainfo.classes[1] is 'x' in the checkpoint, 'b' here (2 of 3 names differ)"]
    assert differences(('b', 'a', 'c'), 1) == [
        "metainfo.classes[0] is 'b' in the checkpoint, 'a' here (2 of 3 names differ, the same "
        'names in another order)',
        'model.num_things_classes is 1 in the checkpoint, 2 here']
    assert differences(('a', 'b', 'c'), cfg='model = dict(num_things_classes=3)') == [
        'model.num_things_classes is 3 in the checkpoint, 2 here']
    assert differences(('a', 'b', 'c', 'd'), 1) == []  # another error, or another head
    assert class_differences(dict(dataset_meta=dict(classes=('a', ))), None, None) == []


def test_report(caplog):
    with caplog.at_level(logging.WARNING):
        report_differences(['x is 1 in the checkpoint, 2 here', 'y'], False, 'a.pth')
    assert caplog.text.count('a.pth was trained with other settings: ') in (0, 2)
    with pytest.raises(CheckpointError, match='a.pth was trained .* x is 1 .*; y; .*strict-meta'):
        report_differences(['x is 1 in the checkpoint, 2 here', 'y'], True, 'a.pth')
    report_differences([], True)
