"""Boxes and centers of segments against the published helper and a direct definition."""
import pytest
import torch

from mmpanseg.structures.segment_geometry import segment_boxes, segment_mass_centers
from mmpanseg.structures.segment_map import SegmentMap


def direct(mask):
    ys, xs = mask.nonzero().T
    if not len(xs):
        return [0.0] * 4, [0.0] * 2
    return ([xs.min().item(), ys.min().item(), xs.max().item() + 1, ys.max().item() + 1],
            [xs.float().mean().item(), ys.float().mean().item()])


@pytest.mark.parametrize('dense', [False, True])
def test_against_pixels(dense):
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(-1, 4, (7, 9), generator=generator)
    index[index == 2] = 1  # segment 2 is empty
    labels = torch.arange(4)
    segments = SegmentMap(labels, map=index.int())
    if dense:
        segments = SegmentMap(labels, masks=segments.dense())
    boxes, centers = zip(*(direct(mask) for mask in segments.dense()))
    torch.testing.assert_close(segment_boxes(segments), torch.tensor(boxes).float())
    torch.testing.assert_close(segment_mass_centers(segments), torch.tensor(centers))


def test_centers_match_published(golden):
    data = torch.load(golden / 'panoptic_segformer/matching_and_losses.pth', weights_only=True)[
        'mass_centre']
    masks = data['gt_masks'].bool()
    segments = SegmentMap(torch.zeros(len(masks), dtype=torch.long), masks=masks)
    # there, coordinates run from 0 at the first pixel to 1 at the last
    last = torch.tensor([masks.shape[2] - 1, masks.shape[1] - 1])
    torch.testing.assert_close(segment_mass_centers(segments) / last, data['mass_centre_xy'])


def test_boxes_match_published(golden):
    for case in torch.load(golden / 'panoptic_segformer/matching_and_losses.pth',
                           weights_only=True)['head_loss']:
        segments = SegmentMap(case['gt_labels'], masks=case['gt_masks'].bool())
        torch.testing.assert_close(segment_boxes(segments), case['gt_bboxes_xyxy'])


def test_no_segments():
    segments = SegmentMap(torch.zeros(0, dtype=torch.long), map=torch.full((3, 4), -1))
    assert segment_boxes(segments).shape == (0, 4)
    assert segment_mass_centers(segments).shape == (0, 2)
