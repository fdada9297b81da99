"""Sources of configs and of files: what training reads, also inside of wrappers."""
import json
from pathlib import Path

import pytest
from mmengine.config import Config

from mmpanseg.datasets.coco import CocoPanopticDataset
from mmpanseg.doctor.file_sources import sources_of_files
from mmpanseg.doctor.source import TargetError, sources_of_config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def dataset(name='a', **options):
    return dict(type='mmpanseg.PanopticDataset', data_root=f'data/{name}/', ann_file='p.json',
                data_prefix=dict(img='images', seg='maps'), **options)


def config(train, **loaders):
    return Config(dict(train_dataloader=dict(dataset=train), **loaders))


def test_a_published_config():
    cfg = Config.fromfile(CONFIGS / 'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py')
    train, val = sources_of_config(cfg)
    assert (train.split, train.kind, train.num_queries, train.num_classes, train.filter_empty,
            train.test_mode) == ('train', 'panoptic', 100, 133, True, False)
    assert train.ann_file == 'data/coco/annotations/panoptic_train2017.json'
    assert (train.img_prefix, train.seg_prefix) == (
        'data/coco/train2017/', 'data/coco/annotations/panoptic_train2017/')
    assert train.classes == CocoPanopticDataset.METAINFO['classes']
    assert train.thing_classes + train.stuff_classes == train.classes
    assert (val.split, val.ann_file, val.test_mode) == (
        'val', 'data/coco/annotations/panoptic_val2017.json', True)


def test_the_config_of_every_data_set_has_sources():
    # the instances of Cityscapes and ADE20K are read from the panoptic annotation
    others = {'camvid_instance': 'instance', 'coco_instance_lsj': 'instance',
              'coco_instance_multiscale': 'instance'}
    for path in sorted((CONFIGS / '_base_/datasets').glob('*.py')):
        sources = sources_of_config(Config.fromfile(path))
        assert [source.split for source in sources] == ['train', 'val'], path
        kind = 'semantic' if '_semantic' in path.stem else others.get(path.stem, 'panoptic')
        assert [source.kind for source in sources] == [kind, kind], path
        assert sources[0].classes or path.stem == 'custom_panoptic'


def test_the_coding_of_label_maps():
    train, _ = sources_of_config(
        Config.fromfile(CONFIGS / '_base_/datasets/cityscapes_semantic.py'))
    assert (train.img_suffix, train.seg_suffix, train.ignore_index) == (
        '_leftImg8bit.png', '_gtFine_labelIds.png', 255)
    assert train.label_map[7] == 0 and train.label_map[0] == 255


def test_options_of_transforms_win():
    pipeline = [
        dict(type='LoadImageFromFile', color_type='unchanged', upright_annotations=True),
        dict(type='mmpanseg.LoadSemanticMap', reduce_zero_label=True, ignore_index=7)]
    source, = sources_of_config(config(dict(
        type='mmpanseg.SemanticDataset', metainfo=dict(classes=('a', )), pipeline=pipeline,
        data_prefix=dict(img='images', seg='labels'))))
    assert (source.reduce_zero_label, source.ignore_index, source.color_type,
            source.upright_annotations) == (True, 7, 'unchanged', True)


def test_sources_inside_of_wrappers():
    mixed = dict(type='mmpanseg.ResamplingMixDataset', pipeline=[], dataset=dict(
        type='ConcatDataset', datasets=[
            dict(type='RepeatDataset', times=2, dataset=dataset('a')),
            dict(type='ClassBalancedDataset', oversample_thr=1., dataset=dataset('b'))]))
    sources = sources_of_config(config(mixed, val_dataloader=dict(dataset=dataset('c'))))
    assert [(source.split, source.ann_file) for source in sources] == [
        ('train', 'data/a/p.json'), ('train 2', 'data/b/p.json'), ('val', 'data/c/p.json')]
    assert [source.role for source in sources] == ['train', 'train', 'val']


def test_a_test_set_of_its_own_is_a_source():
    cfg = config(dataset('a'), val_dataloader=dict(dataset=dataset('b')),
                 test_dataloader=dict(dataset=dataset('b')))
    assert [s.split for s in sources_of_config(cfg)] == ['train', 'val']
    assert [s.split for s in sources_of_config(cfg, ['test'])] == ['test']
    cfg.test_dataloader.dataset = dataset('c')
    assert [s.split for s in sources_of_config(cfg)] == ['train', 'val', 'test']


def test_queries_of_a_model():
    model = dict(num_things_classes=1, num_stuff_classes=2, panoptic_head=dict(
        type='mmpanseg.KMaXHead', num_queries=256, num_train_queries=128))
    cfg = config(dataset(), val_dataloader=dict(dataset=dataset('b')), model=model)
    assert [s.num_queries for s in sources_of_config(cfg)] == [128, 256]
    path = 'panoptic_segformer/panoptic_segformer_r50_8xb1-24e_coco-panoptic.py'
    source = sources_of_config(Config.fromfile(CONFIGS / path))[0]
    assert (source.num_queries, source.queries_for_things) == (300, True)


def test_a_data_set_of_mmdet():
    source, = sources_of_config(config(dict(
        type='mmdet.CocoPanopticDataset', ann_file='p.json',
        data_prefix=dict(img='images', seg='maps'))))
    assert (source.kind, source.seg_prefix, len(source.classes)) == ('panoptic', 'maps', 133)


@pytest.mark.parametrize(('cfg', 'text'), [
    (Config(dict(model=dict())), 'the config has no data set in train_dataloader, val_dataloader'),
    (config(dict(type='NoSuchDataset')), 'the data set of train_dataloader cannot be built'),
    (config(dict(dataset(), no_such_option=1)), 'the data set of train_dataloader cannot be built'),
    (config(dict(type='mmdet.VOCDataset', ann_file='x')), 'train_dataloader is a VOCDataset')])
def test_a_config_without_known_data_is_one_line(cfg, text):
    with pytest.raises(TargetError) as error:
        sources_of_config(cfg)
    assert text in str(error.value) and '\n' not in str(error.value)


@pytest.fixture
def layout(tmp_path):
    """What ``mmpanseg import`` writes, with the images named as in the JSON."""
    for split in ('train', 'val'):
        for name in (f'images/{split}', f'panoptic_{split}', f'labels/{split}'):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / f'images/{split}/{split}.jpg').touch()
        (tmp_path / f'panoptic_{split}/{split}.png').touch()
        image = dict(id=1, file_name=f'{split}.jpg')
        (tmp_path / f'panoptic_{split}.json').write_text(json.dumps(dict(
            images=[image], annotations=[dict(file_name=f'{split}.png', segments_info=[])])))
        (tmp_path / f'instances_{split}.json').write_text(json.dumps(dict(
            images=[image], annotations=[dict(segmentation=[])])))
    (tmp_path / 'classes.json').write_text(json.dumps([dict(id=0, name='road'), dict(name='sky')]))
    return tmp_path


def described(sources, root):
    return [(s.split, s.kind, *(path.replace(f'{root}/', '') for path in (
        s.ann_file, s.img_prefix, s.seg_prefix))) for s in sources]


@pytest.mark.parametrize(('targets', 'options', 'expected'), [
    (['.'], {}, [
        ('train', 'panoptic', 'panoptic_train.json', 'images/train', 'panoptic_train'),
        ('val', 'panoptic', 'panoptic_val.json', 'images/val', 'panoptic_val')]),
    (['.'], dict(kind='instance'), [
        ('train', 'instance', 'instances_train.json', 'images/train', ''),
        ('val', 'instance', 'instances_val.json', 'images/val', '')]),
    (['.'], dict(kind='semantic'), [
        ('train', 'semantic', '', 'images/train', 'labels/train'),
        ('val', 'semantic', '', 'images/val', 'labels/val')]),
    (['instances_val.json'], {}, [('val', 'instance', 'instances_val.json', 'images/val', '')]),
    (['panoptic_val.json'], dict(images=['x'], maps=['y']), [
        ('val', 'panoptic', 'panoptic_val.json', 'x', 'y')])])
def test_folders_are_found_beside_files(layout, targets, options, expected):
    targets = [str(layout / target) if target != '.' else str(layout) for target in targets]
    sources = sources_of_files(targets, **options)
    assert described(sources, layout) == expected
    if options.get('kind') == 'semantic':
        assert sources[0].classes == ('road', 'sky')


@pytest.mark.parametrize(('targets', 'options', 'text'), [
    (['none.json'], {}, 'none.json does not exist'),
    (['panoptic_val.json', 'panoptic_train.json', 'instances_val.json'],
     dict(images=['a', 'b']), '--images is given 2 times for 3 annotations'),
    (['panoptic_val.json'], dict(kind='semantic'), 'semantic data are folders'),
    (['labels'], dict(kind='panoptic'), 'is a folder: panoptic data need a JSON'),
    (['panoptic_train'], {}, 'give --images DIR'),
    (['panoptic_train'], dict(images=['images']), 'classes.json has no list of names')])
def test_files_that_say_too_little_are_one_line(layout, targets, options, text):
    (layout / 'classes.json').write_text('{}')
    with pytest.raises(TargetError, match=text) as error:
        sources_of_files([str(layout / target) for target in targets], **options)
    assert '\n' not in str(error.value)


def test_a_json_without_its_folders(tmp_path):
    path = tmp_path / 'below/panoptic.json'
    path.parent.mkdir()
    path.write_text('{"annotations": [{"segments_info": []}]}')
    with pytest.raises(TargetError, match='no folder beside it has its images: give --images DIR'):
        sources_of_files([str(path)])
