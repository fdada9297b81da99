"""Panoptic maps of two tiles against combined ones written out by hand."""
import pytest
import torch
from mmengine.structures import PixelData

from mmpanseg.models.inference.panoptic_stitching import PanopticStitcher
from mmpanseg.models.inference.tile_grid import tile_grid


def panoptic(values, *infos):
    result = PixelData(sem_seg=torch.as_tensor(values, dtype=torch.int32)[None])
    result.set_metainfo(dict(segments_info=[
        dict(id=i, label=i % 1000, isthing=i >= 1000, score=score) for i, score in infos]))
    return result


def stitch(left, right, merge_iou=0.5):
    """Two tiles of 1 x 8 pixels with 4 in common, of an image of 1 x 12."""
    tiles = tile_grid((1, 12), (1, 8), 4)
    stitcher = PanopticStitcher((1, 12), 1, 2, merge_iou, torch.device('cpu'))
    stitcher.add(tiles[0], left)
    stitcher.add(tiles[1], right)
    return stitcher.result()


def test_things_join_by_iou_within_the_overlap():
    # pixels 4 .. 7 are shared: the left tile gives 3 of them to the thing, the right one 2
    left = panoptic([[2, 2, 1000, 1000, 1000, 1000, 1000, 2]], (1000, 0.9))
    right = panoptic([[1000, 1000, 2, 2, 2, 2, 2, 2]], (1000, 0.6))
    joined = stitch(left, right, 2 / 3)
    assert joined.sem_seg[0].tolist() == [[2, 2, 1000, 1000, 1000, 1000, 2, 2, 2, 2, 2, 2]]
    # only the left tile decides pixels of it
    assert joined.segments_info == [
        dict(id=1000, label=0, isthing=True, score=pytest.approx(0.9))]
    cut = stitch(panoptic([[2, 2, 1000, 1000, 1000, 1000, 1000, 1000]], (1000, 0.9)),
                 panoptic([[2, 2, 1000, 1000, 1000, 1000, 2, 2]], (1000, 0.6)), 0.6)
    assert cut.sem_seg[0].tolist() == [[2, 2] + [1000] * 4 + [2000] * 4 + [2, 2]]
    whole = stitch(panoptic([[2, 2, 1000, 1000, 1000, 1000, 1000, 1000]], (1000, 0.9)),
                   panoptic([[2, 2, 1000, 1000, 1000, 1000, 2, 2]], (1000, 0.6)), 0.5)
    assert whole.sem_seg[0].tolist() == [[2, 2] + [1000] * 8 + [2, 2]]
    assert whole.segments_info[0]['score'] == pytest.approx(0.75)


def test_stuff_joins_by_class_and_things_need_the_same_class():
    left = panoptic([[1] * 4 + [1000] * 4], (1, 0.8), (1000, 0.9))
    right = panoptic([[1] * 6 + [2] * 2], (1, 0.5))
    result = stitch(left, right)
    assert result.sem_seg[0].tolist() == [[1] * 4 + [1000] * 2 + [1] * 4 + [2] * 2]
    assert [info['id'] for info in result.segments_info] == [1000, 1]
    assert result.segments_info[1]['score'] == pytest.approx((4 * 0.8 + 4 * 0.5) / 8)


def test_a_thing_joins_at_most_one_of_another_tile():
    left = panoptic([[2] * 4 + [1000] * 4], (1000, 0.9))
    right = panoptic([[1000, 2000, 2000, 2000] + [2] * 4], (1000, 0.7), (2000, 0.7))
    result = stitch(left, right, 0.2)
    # the better pair, 3 of 4 pixels, is joined; the other thing decides no pixel
    assert result.sem_seg[0].tolist() == [[2] * 4 + [1000] * 4 + [2] * 4]
    assert len(result.segments_info) == 1
