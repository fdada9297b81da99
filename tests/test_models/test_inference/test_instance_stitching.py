"""Instances of tiles against those that the tiles were cropped from."""
import torch
from mmengine.structures import InstanceData

from mmpanseg.models.inference.instance_stitching import InstanceStitcher
from mmpanseg.models.inference.tile_grid import tile_grid


def test_instances_that_overlap_each_other():
    """Overlapping masks of one class and of two, each spanning both tiles."""
    whole = torch.zeros(4, 10, 20, dtype=torch.bool)
    whole[0, 2:8, 3:17] = True
    whole[1, 4:10, 5:15] = True
    whole[2, 2:8, 3:17] = True
    whole[3, :2, :4] = True
    labels, scores = torch.tensor([0, 0, 1, 0]), torch.tensor([0.9, 0.8, 0.7, 0.6])
    stitcher = InstanceStitcher((10, 20), 100, 0.5, 'dense', torch.device('cpu'))
    for tile in tile_grid((10, 20), (10, 12), 4):
        masks = whole[:, tile.rows.window, tile.columns.window]
        order = torch.randperm(4)
        stitcher.add(tile, InstanceData(
            masks=masks[order], labels=labels[order], scores=scores[order]))
    found = stitcher.result()
    assert torch.equal(found.masks, whole) and torch.equal(found.labels, labels)
    torch.testing.assert_close(found.scores, scores)
