"""Loss functions of Panoptic SegFormer against the published ones."""
import pytest
import torch
import torch.nn.functional as F

from mmpanseg.models.losses.base import sigmoid_focal_loss
from mmpanseg.models.losses.panoptic_segformer_criterion import (
    PanopticSegFormerCriterion,
    squared_dice_loss,
)
from mmpanseg.models.losses.panoptic_segformer_targets import read_targets
from mmpanseg.structures.segment_map import SegmentMap


@pytest.fixture(scope='module')
def published(golden):
    return torch.load(golden / 'panoptic_segformer/matching_and_losses.pth', weights_only=True)[
        'loss_functions']


def assert_close(value, expected):
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)


def test_focal_of_things(published):
    case = published['focal']
    labels = case['labels_background_is_K']
    targets = F.one_hot(labels, published['num_classes'] + 1)[:, :-1].float()
    loss = PanopticSegFormerCriterion(1).cls_weight * sigmoid_focal_loss(
        case['logits'], targets).sum()
    assert_close(loss / case['avg_factor'], case['value'])


def test_focal_of_stuff(published):
    case = published['stuff_focal']
    present = (case['labels_zero_is_present'] == 0).float()[:, None]
    loss = sigmoid_focal_loss(case['logits'], present).sum()
    assert_close(PanopticSegFormerCriterion(1).stuff_cls_weight * loss / case['avg_factor'],
          case['value'])


def test_locations(published):
    criterion = PanopticSegFormerCriterion(1)
    for name, key, factor in (('l1', 'loss_bbox', criterion.l1_weight),
                              ('giou', 'loss_iou', criterion.giou_weight)):
        case = published[name]
        inside = case['weight'][:, 0].nonzero()[:, 0]
        pred, target = (case[n + ('_cxcywh_norm' if name == 'giou' else '')][inside]
                        for n in ('pred', 'target'))
        height, width = published['img_shape']
        targets = _Targets(target[None], torch.tensor([[width, height] * 2]).float())
        losses = criterion.location_losses(
            pred, torch.zeros(len(pred), dtype=torch.long), torch.arange(len(pred)), targets)
        assert_close(factor * losses[key].sum() / case['avg_factor'], case['value'])


class _Targets:
    """The two attributes that the location losses read."""

    def __init__(self, locations, image_sizes):
        self.locations = locations
        self.image_sizes = image_sizes


def test_dice(published):
    case = published['dice']
    masks = case['gt_masks'].bool()
    shape = tuple(masks.shape[1:])
    truth = read_targets([SegmentMap(torch.zeros(len(masks), dtype=torch.long), masks=masks)],
                         [dict(img_shape=shape, batch_input_shape=shape)], 1, 'box')
    height, width = case['mask_pred_stride8'].shape[1:]
    targets = truth.location_masks(0, (2 * height, 2 * width))
    torch.testing.assert_close(
        targets, case['resized_target'].flatten(1), atol=1e-4, rtol=1e-4)
    upsampled = F.interpolate(case['mask_pred_stride8'][None], scale_factor=2, mode='bilinear',
                              align_corners=False)[0]
    torch.testing.assert_close(upsampled, case['upsampled_pred'], atol=1e-4, rtol=1e-4)
    losses = squared_dice_loss(upsampled.flatten(1), targets)
    assert_close(losses, case['per_mask_unweighted'])
    weighted = PanopticSegFormerCriterion(1).dice_weight * (losses * case['weight']).sum()
    assert_close(weighted / case['avg_factor'], case['value'])


def test_map_and_masks_give_the_same_targets():
    index = torch.randint(-1, 5, (24, 40), generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([3, 0, 5, 1, 5])
    metainfo = dict(img_shape=(24, 40), batch_input_shape=(32, 48))
    by_map = SegmentMap(labels, map=index)
    by_masks = SegmentMap(labels, masks=by_map.dense())
    ours, theirs = (read_targets([segments], [metainfo], 2, 'box')
                    for segments in (by_map, by_masks))
    for read in ('location_masks', 'stuff_masks'):
        torch.testing.assert_close(
            getattr(ours, read)(0, (6, 8)), getattr(theirs, read)(0, (6, 8)))
    torch.testing.assert_close(ours.locations, theirs.locations)
    assert ours.location_segments[0].tolist() == [1, 3]
    # two segments of one stuff class are one
    assert ours.stuff_classes == [{1: [0], 3: [2, 4]}]
    # independently: bilinear resizing of the padded masks
    padded = F.pad(by_map.dense().float(), (0, 8, 0, 8))
    masks = F.interpolate(padded[None], (6, 8), mode='bilinear', align_corners=False)[0].flatten(1)
    torch.testing.assert_close(ours.location_masks(0, (6, 8)), masks[[1, 3]])
    torch.testing.assert_close(
        ours.stuff_masks(0, (6, 8)), torch.stack([masks[0], masks[2] + masks[4]]))


def test_giou_without_boxes_is_refused():
    costs = [dict(type='mmpanseg.LocationGIoUCost')]
    with pytest.raises(ValueError, match='criterion.mask_costs: GIoU needs boxes'):
        PanopticSegFormerCriterion(1, location='center_of_mass', mask_costs=costs)
    with pytest.raises(ValueError, match="balance='things'"):
        PanopticSegFormerCriterion(1, balance='things')
