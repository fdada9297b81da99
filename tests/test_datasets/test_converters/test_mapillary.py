"""The Mapillary Vistas converter and datasets on small files in the official layouts."""
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_tools

from mmpanseg.checkpoints.class_order import published_order
from mmpanseg.datasets import MapillaryPanopticDataset, MapillarySemanticDataset, PanopticDataset
from mmpanseg.datasets.converters import convert_mapillary
from mmpanseg.datasets.mapillary import LABELS, PANOPTIC_ORDER, VistasLabel, read_labels
from mmpanseg.structures.panoptic_png import read_panoptic_png

UNLABELED = VistasLabel('Unlabeled', False, (0, 0, 0), evaluated=False)
V12 = LABELS + (UNLABELED, )
# another list of classes: more of them, other names, some not evaluated in the middle
V20 = tuple(label._replace(name=f'{label.name} 2', evaluated=value != 27)
            for value, label in enumerate(LABELS)) + (
                UNLABELED, VistasLabel('Ambiguous', True, (9, 9, 9)))
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap'),
            dict(type='mmpanseg.PackPanopticInputs')]
SEMANTIC = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadSemanticMap'),
            dict(type='mmpanseg.PackPanopticInputs')]


@pytest.fixture
def root(downloads, tmp_path):
    return downloads.vistas(tmp_path, V12)


def _names(segments, data):
    return [data.metainfo['classes'][label] for label in segments.labels]


def test_class_lists(root):
    assert len(LABELS) == 65 and sum(label.is_thing for label in LABELS) == 37
    assert len({label.color for label in LABELS}) >= 63
    meta = MapillaryPanopticDataset.METAINFO
    assert [LABELS[place].name for place in PANOPTIC_ORDER] == list(meta['classes'])
    assert [LABELS[place].color for place in PANOPTIC_ORDER] == meta['palette']
    assert published_order('mapillary') == list(PANOPTIC_ORDER)
    assert read_labels(str(root / 'config.json')) == V12


def test_panoptic_annotation(root, downloads):
    assert convert_mapillary(root, root, 'training') == 1
    content = json.loads((root / 'annotations/panoptic_v1.2_training.json').read_text())
    assert content['images'] == [dict(id='a-B_c', file_name='a-B_c.jpg', height=24, width=40)]
    names = {c['id']: c['name'] for c in content['categories']}
    assert len(names) == 65 and names[56] == 'Car'
    segments = content['annotations'][0]['segments_info']
    assert [names[s['category_id']] for s in segments] == [
        'Bird', 'Bird', 'Road', 'Sky', 'Car', 'Car', 'Ego Vehicle']
    values = downloads.vistas_values().astype(int)
    ids = read_panoptic_png(root / 'annotations/panoptic_v1.2_training/a-B_c.png')
    # value 0 is a bird, not void; unlabeled is void
    assert np.array_equal(ids, np.where(values // 256 == 65, 0, values + 1))
    instances = json.loads((root / 'annotations/instances_v1.2_training.json').read_text())
    assert len(instances['categories']) == 37
    for annotation, value in zip(instances['annotations'], (0, 1, 55 * 256, 55 * 256 + 255)):
        assert np.array_equal(rle_tools.decode(annotation['segmentation']), values == value)


def test_stuff_with_several_values_is_one_segment(root, downloads):
    values = downloads.vistas_values()
    values[18:20] += 1  # a second road
    downloads.save(root / 'training/instances/a-B_c.png', values)
    convert_mapillary(root, root, 'training')
    content = json.loads((root / 'annotations/panoptic_v1.2_training.json').read_text())
    categories = [s['category_id'] for s in content['annotations'][0]['segments_info']]
    assert categories.count(14) == 1 and len(categories) == 7


@pytest.mark.parametrize('version', ['v1.2', 'v2.0'])
def test_layout_of_the_larger_package(downloads, tmp_path, version):
    labels = V12 if version == 'v1.2' else V20
    downloads.vistas(tmp_path, labels, version)
    assert convert_mapillary(tmp_path, tmp_path / 'out', 'validation', version) == 1
    data = PanopticDataset(
        data_root=str(tmp_path), data_prefix=dict(
            img='validation/images', seg=f'out/annotations/panoptic_{version}_validation'),
        ann_file=f'out/annotations/panoptic_{version}_validation.json', pipeline=PIPELINE)
    segments = data[0]['data_samples'].gt_segments
    names = [name.removesuffix(' 2') for name in _names(segments, data)]
    skies = ['Sky'] if version == 'v1.2' else []  # not evaluated in the other one
    assert names == ['Bird', 'Bird', 'Road', *skies, 'Car', 'Car', 'Ego Vehicle']
    assert len(data.metainfo['thing_classes']) == (37 if version == 'v1.2' else 38)


@pytest.mark.parametrize('version', [None, 'v1.2', 'v2.0'])
def test_panoptic_folder_of_the_download(downloads, tmp_path, version):
    labels = V20 if version == 'v2.0' else V12
    downloads.vistas(tmp_path, labels, version)
    base = f'training/{version}' if version else 'training'
    data = (PanopticDataset if version == 'v2.0' else MapillaryPanopticDataset)(
        data_root=str(tmp_path), ann_file=f'{base}/panoptic/panoptic_'
        f'{"2020" if version == "v2.0" else "2018"}.json',
        data_prefix=dict(img='training/images', seg=f'{base}/panoptic'), pipeline=PIPELINE)
    segments = data[0]['data_samples'].gt_segments
    void = [65, 27] if version == 'v2.0' else [65]
    names = [name.removesuffix(' 2') for name in _names(segments, data)]
    skies = [] if version == 'v2.0' else ['Sky']
    assert names == ['Bird', 'Bird', 'Road', *skies, 'Car', 'Ego Vehicle']
    values = downloads.vistas_values()
    # what is not evaluated, and the crowd of cars
    assert np.array_equal(segments.map.numpy() == -1,
                          np.isin(values // 256, void) | (values == 55 * 256 + 255))


def test_semantic_dataset_reads_the_download(root, downloads):
    assert Image.open(root / 'training/labels/a-B_c.png').mode == 'P'
    data = MapillarySemanticDataset(
        data_root=str(root), data_prefix=dict(img='training/images', seg='training/labels'),
        pipeline=SEMANTIC)
    segments = data[0]['data_samples'].gt_segments
    values = downloads.vistas_values() // 256
    found = np.append(segments.labels.numpy(), -1)[segments.map.numpy()]
    assert np.array_equal(found, np.where(values == 65, -1, values.astype(int)))


def test_semantic_classes_of_another_version(downloads, tmp_path):
    downloads.vistas(tmp_path, V20, 'v2.0')
    data = MapillarySemanticDataset(
        data_root=str(tmp_path), config_file='config_v2.0.json', data_prefix=dict(
            img='training/images', seg='training/v2.0/labels'), pipeline=SEMANTIC)
    assert data.metainfo['classes'] == tuple(label.name for label in V20 if label.evaluated)
    assert len(data.metainfo['palette']) == 65
    segments = data[0]['data_samples'].gt_segments
    assert _names(segments, data) == ['Bird 2', 'Road 2', 'Car 2', 'Ego Vehicle 2']
    values = downloads.vistas_values() // 256
    assert np.array_equal(segments.map.numpy() == -1, np.isin(values, [27, 65]))


def test_label_of_another_version(root, downloads):
    downloads.save(root / 'training/instances/a-B_c.png',
                   np.full((24, 40), 100 * 256 + 3, np.uint16))
    with pytest.raises(ValueError, match='a-B_c.png: value 25603 .* config has 66 labels'):
        convert_mapillary(root, root, 'training')


def test_missing_files(root):
    with pytest.raises(ValueError, match="version 'v3' must be one of v1.2, v2.0"):
        convert_mapillary(root, root, 'training', 'v3')
    with pytest.raises(FileNotFoundError, match='config_v2.0.json does not exist'):
        convert_mapillary(root, root, 'training', 'v2.0')
    (root / 'training/instances/a-B_c.png').unlink()
    with pytest.raises(ValueError, match='a-B_c.png does not exist, the annotation of'):
        convert_mapillary(root, root, 'training')
    (root / 'config.json').write_text('{"labels": [{"name": "x"}]}')
    with pytest.raises(ValueError, match='config.json is not the JSON of Mapillary Vistas'):
        convert_mapillary(root, root, 'training')
