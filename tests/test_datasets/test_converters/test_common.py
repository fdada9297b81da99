"""Run-length encodings, and annotations of real images."""
import json

import numpy as np
import pytest
from pycocotools import mask as rle_tools

from mmpanseg.datasets.converters.common import Segment, encode_segments, list_images, write_image
from mmpanseg.structures.panoptic_png import read_panoptic_png


@pytest.mark.parametrize('seed', range(3))
def test_encodings_equal_those_of_pycocotools(seed):
    rng = np.random.default_rng(seed)
    index = np.kron(rng.integers(0, 6, (5, 7)), np.ones((3, 2), int))
    index[0, 0], index[-1, -1] = 1 + seed, seed  # first and last pixel of a segment, or of none
    for number, encoded in enumerate(encode_segments(index, 5), 1):
        expected = rle_tools.encode(np.asfortranarray(index == number).view(np.uint8))
        assert encoded == dict(size=[15, 14], counts=expected['counts'].decode())


def test_no_segment(tmp_path):
    result = write_image(np.zeros((4, 5), int), {7: Segment(1, True)}, dict(id=3),
                         tmp_path / 'a.png')
    assert result.annotation == dict(image_id=3, file_name='a.png', segments_info=[])
    assert not result.instances and not read_panoptic_png(tmp_path / 'a.png').any()


def test_annotations_of_real_images(shared, tmp_path):
    """COCO's own panoptic annotation comes out as it went in, and its masks in COCO's format."""
    root = shared / 'data/coco_panoptic_sample'
    content = json.loads((root / 'panoptic_examples.json').read_text())
    masks = {}
    for item in json.loads((root / 'panoptic_coco_detection_format.json').read_text())[
            'annotations']:
        masks.setdefault((item['image_id'], item['category_id'], item['area']), []).append(item)
    isthing = {c['id']: bool(c['isthing']) for c in content['categories']}
    for annotation in content['annotations']:
        segments = {s['id']: Segment(s['category_id'], True, bool(s['iscrowd']))
                    for s in annotation['segments_info']}
        ids = read_panoptic_png(root / 'panoptic_examples' / annotation['file_name'])
        result = write_image(ids, segments, dict(id=annotation['image_id']), tmp_path / 'a.png')
        assert np.array_equal(read_panoptic_png(tmp_path / 'a.png'), ids)
        expected = {s['id']: {key: s[key] for key in ('category_id', 'iscrowd', 'area', 'bbox')}
                    for s in annotation['segments_info']}
        found = {s.pop('id'): s for s in map(dict, result.annotation['segments_info'])}
        assert found == expected
        for instance in result.instances:
            key = (annotation['image_id'], instance['category_id'], instance['area'])
            theirs = masks[key]
            assert isthing[key[1]] or len(theirs) == 1
            assert any(np.array_equal(
                rle_tools.decode(item['segmentation']),
                rle_tools.decode(instance['segmentation'])) for item in theirs)


def test_images_of_every_ending(tmp_path):
    names = ['a.JPG', 'b.jpg', 'c.PNG', 'd.Tif', 'sub/a.png']
    (tmp_path / 'sub').mkdir()
    for name in (*names, 'e.txt', '._a.jpg'):
        (tmp_path / name).touch()
    assert [str(p.relative_to(tmp_path)) for p in list_images(tmp_path)] == names
    assert [p.name for p in list_images(tmp_path, '.jpg')] == ['a.JPG', 'b.jpg']
    (tmp_path / 'b.png').touch()
    with pytest.raises(ValueError, match='b.jpg and b.png have one name without their endings'):
        list_images(tmp_path)
