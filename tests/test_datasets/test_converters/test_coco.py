"""Label maps from COCO's panoptic annotation."""
import json

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from PIL import Image

from mmpanseg.datasets import CocoSemanticDataset, CocoStuffDataset
from mmpanseg.datasets.converters import convert_coco_semantic

# the first and the last category of COCO panoptic, as the official file has them
CATEGORIES = [dict(id=1, name='person', isthing=1), dict(id=200, name='rug-merged', isthing=0)]


@pytest.fixture
def root(downloads, tmp_path):
    """A person, a crowd of persons, a rug and void; and an image without annotation."""
    ids = np.zeros((24, 40), np.int64)
    ids[:8], ids[8:12], ids[12:16] = 70000, 3, 900
    rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)
    downloads.save(tmp_path / 'annotations/panoptic_val2017/000000000139.png', rgb)
    for number in (139, 285):
        downloads.save_photo(tmp_path / f'val2017/{number:012d}.jpg')
    meta = CocoSemanticDataset.METAINFO['classes']
    others = [dict(id=300 + k, name=name, isthing=int(k < 80)) for k, name in enumerate(meta)
              if name not in ('person', 'rug-merged')]
    (tmp_path / 'annotations/panoptic_val2017.json').write_text(json.dumps(dict(
        images=[dict(id=n, file_name=f'{n:012d}.jpg', height=24, width=40) for n in (139, 285)],
        annotations=[dict(image_id=139, file_name='000000000139.png', segments_info=[
            dict(id=70000, category_id=1, iscrowd=0), dict(id=3, category_id=1, iscrowd=1),
            dict(id=900, category_id=200, iscrowd=0)])],
        categories=CATEGORIES + others)))
    return tmp_path


def test_labels_things_first_and_crowds_have_their_class(root):
    assert convert_coco_semantic(root, root, 'val2017') == 1
    labels = np.asarray(Image.open(root / 'annotations/panoptic_semseg_val2017/000000000139.png'))
    rug = CocoSemanticDataset.METAINFO['classes'].index('rug-merged')
    assert labels.dtype == np.uint8 and rug == 132
    expected = np.full((24, 40), 255)
    expected[:12], expected[12:16] = 0, rug
    assert np.array_equal(labels, expected)


def test_dataset(root):
    convert_coco_semantic(root, root, 'val2017')
    (root / 'val2017/000000000285.jpg').unlink()
    data = CocoSemanticDataset(
        data_root=str(root), data_prefix=dict(
            img='val2017', seg='annotations/panoptic_semseg_val2017'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadSemanticMap'),
                  dict(type='mmpanseg.PackPanopticInputs')])
    assert data[0]['data_samples'].gt_segments.labels.tolist() == [0, 132]


def test_coco_stuff(downloads, tmp_path):
    classes = CocoStuffDataset.METAINFO['classes']
    assert len(classes) == 171 and classes[:80] == CocoDataset.METAINFO['classes']
    # ids of the official list minus one
    values = np.full((24, 40), 255, np.uint8)
    for row, value in enumerate((0, 10, 12, 89, 91, 181, 11)):
        values[row] = value
    downloads.save(tmp_path / 'stuffthingmaps/val2017/000000000139.png', values)
    downloads.save_photo(tmp_path / 'val2017/000000000139.jpg')
    data = CocoStuffDataset(
        data_root=str(tmp_path), data_prefix=dict(img='val2017', seg='stuffthingmaps/val2017'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadSemanticMap'),
                  dict(type='mmpanseg.PackPanopticInputs')])
    segments = data[0]['data_samples'].gt_segments
    names = [classes[label] for label in segments.labels]
    assert names == ['person', 'fire hydrant', 'stop sign', 'toothbrush', 'banner', 'wood']
    assert (segments.map[6:] == -1).all()


def test_errors(root):
    with pytest.raises(ValueError, match='panoptic_train2017.json does not exist'):
        convert_coco_semantic(root, root, 'train2017')
    (root / 'annotations/panoptic_val2017/000000000139.png').unlink()
    with pytest.raises(FileNotFoundError, match='000000000139.png does not exist'):
        convert_coco_semantic(root, root, 'val2017')
