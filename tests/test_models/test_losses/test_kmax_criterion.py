"""kMaX-DeepLab's criterion against published matchings, sampled pixels, losses, gradients."""
import pytest
import torch

from mmpanseg.models.layers.bilinear_resize import resize
from mmpanseg.models.losses import kmax_criterion as kmax
from mmpanseg.models.losses.kmax_criterion import KMaXCriterion, KMaXPrediction, find_stride
from mmpanseg.models.losses.kmax_losses import (
    class_similarity,
    competing_dice_similarity,
    competing_mask_losses,
    focal_cross_entropy,
    semantic_targets,
)
from mmpanseg.structures.segment_map import SegmentBatch, SegmentMap

CASES = ['main', 'more_targets_than_queries_unshared_matching_lowres_semantics',
         'overlapping_targets', 'one_image_without_targets', 'void_pixels_not_masked']
NAMES = {'loss_cls': 'loss_ce', 'loss_mask': 'loss_mask', 'loss_dice': 'loss_dice',
         'loss_pixel': 'loss_pixel_insdis'}


@pytest.fixture
def cases(golden):
    return torch.load(golden / 'kmax_deeplab/matcher_and_losses.pth', weights_only=True)


def criterion_of(settings: dict) -> KMaXCriterion:
    weights = settings['loss_weights']
    return KMaXCriterion(
        settings['num_classes'], weights['loss_ce'], weights['loss_mask'], weights['loss_dice'],
        weights['loss_pixel_insdis'], weights['loss_aux_semantic'], settings['focal_alpha'],
        settings['focal_gamma'], settings['pixel_insdis_sample_k'],
        settings['pixel_insdis_temperature'], settings['instance_discrimination_temperature'],
        settings['aux_semantic_sample_k'], settings['aux_semantic_temperature'],
        settings['share_final_matching'], settings['masking_void_pixel'])


def segments_of(case: dict) -> SegmentBatch:
    return SegmentBatch([SegmentMap(target['labels'], masks=target['masks'])
                         for target in case['targets']], case['targets'][0]['masks'].shape[1:])


def predictions_of(inputs: dict) -> list[KMaXPrediction]:
    """Leaves of the graph, in the order of the layers."""
    return [KMaXPrediction(*(output[name].clone().requires_grad_() for name in (
        'pred_logits', 'pred_masks', 'pixel_feature')))
        for output in (*inputs['aux_outputs'], inputs)]


def error(ours: torch.Tensor, published: torch.Tensor) -> float:
    assert ours.shape == published.shape
    if not ours.numel():
        return 0.0
    return ((ours - published).abs().max() / published.abs().max().clamp(min=1)).item()


def replay_samples(monkeypatch, case: dict) -> None:
    """Check the logits of each sample and return the published pixels.

    The sampling itself is tested elsewhere. Published code samples for the last prediction and the
    semantic head before the other layers.
    """
    first, *rest = case['sampling']
    semantic = [sample for sample in rest if 'semantic' in sample['call']]
    samples = [sample for sample in rest if 'semantic' not in sample['call']] + [first] + semantic

    def sample_pixels(logits, num_pixels):
        sample = samples.pop(0)
        torch.testing.assert_close(logits, sample['sample_logits'])
        assert num_pixels == sample['indices'].shape[1]
        return sample['indices']

    monkeypatch.setattr(kmax, 'sample_pixels', sample_pixels)


@pytest.mark.parametrize('name', CASES)
def test_matching_is_the_published_one(cases, name):
    case = cases[name]
    criterion, segments, inputs = criterion_of(case['settings']), segments_of(case), case['inputs']
    pixels = segments.strided_pixels(1)
    masks = torch.nn.utils.rnn.pad_sequence([x.masks_at() for x in pixels], True)
    labels = torch.nn.utils.rnn.pad_sequence(segments.labels, True)
    prediction = predictions_of(inputs)[-1]
    size = tuple(inputs['pred_masks'].shape[-2:])
    expected = case['matching']
    similarity = competing_dice_similarity(
        inputs['pred_masks'].flatten(2), masks, case['settings']['masking_void_pixel'])
    classes = class_similarity(inputs['pred_logits'], labels)
    for image, published in enumerate(expected['similarities']):
        count = segments.counts[image]
        assert error(similarity[image, :, :count], published['mask_similarity']) < 1e-5
        assert error(classes[image, :, :count], published['class_similarity']) < 1e-5
    targets = criterion.match(prediction, pixels, labels, size)
    processed = case['processed_targets'][0]
    for image, published in enumerate(expected['indices']):
        ours = targets.images[image]
        pairs = set(zip(ours.query.tolist(), ours.segment.tolist()))
        assert pairs == set(zip(published['query'].tolist(), published['target'].tolist()))
        assert ours.segment.tolist() == sorted(ours.segment.tolist())
        permuted = torch.zeros_like(processed['masks'][image]).flatten(1)
        permuted[ours.query] = ours.shares()
        assert error(permuted, processed['masks'][image].flatten(1)) < 1e-6
        weight = torch.zeros_like(processed['pq_loss_mask_weight'][image])
        weight[ours.query] = ours.weight
        assert error(weight, processed['pq_loss_mask_weight'][image]) < 1e-5
    assert torch.equal(targets.labels, processed['labels'])
    assert error(targets.cls_weight, processed['pq_loss_class_weight']) < 1e-5
    assert torch.equal(targets.void, processed['pixel_gt_void_mask'].flatten(1))


@pytest.mark.parametrize('name', CASES)
def test_losses_and_gradients_are_the_published_ones(cases, name, monkeypatch):
    case = cases[name]
    replay_samples(monkeypatch, case)
    inputs = case['inputs']
    predictions = predictions_of(inputs)
    semantic = inputs['aux_semantic_pred'].clone().requires_grad_()
    truth = torch.stack([target['semantic_masks'] for target in case['targets']])
    # overlapping masks do not define the class of a pixel
    monkeypatch.setattr(kmax, 'semantic_targets',
                        lambda segments, stride: truth[:, ::stride, ::stride])
    losses = criterion_of(case['settings'])(predictions, semantic, segments_of(case))
    expected = case['weighted_losses']
    for ours, published in NAMES.items():
        assert losses[ours].item() == pytest.approx(expected[published], rel=1e-5, abs=1e-5)
        for layer in range(len(predictions) - 1):
            assert losses[f'd{layer}.{ours}'].item() == pytest.approx(
                expected[f'{published}_{layer}'], rel=1e-5, abs=1e-5)
    assert losses['loss_semantic'].item() == pytest.approx(
        expected['loss_aux_semantic'], rel=1e-5, abs=1e-5)
    assert len(losses) == len(expected)
    total = sum(losses.values())
    assert total.item() == pytest.approx(case['total'], rel=1e-5)
    total.backward()
    gradients = case['gradients_of_total']
    assert error(semantic.grad, gradients['aux_semantic_pred']) < 1e-3
    for prediction, published in zip(predictions, (*gradients['aux_outputs'], gradients)):
        for leaf, key in zip(prediction, ('pred_logits', 'pred_masks', 'pixel_feature')):
            scale = published[key].abs().max().clamp(min=1e-6)
            assert (leaf.grad - published[key]).abs().max() / scale < 1e-3, key


def test_focal_cross_entropy_is_the_published_one(cases):
    case = cases['single_functions']['focal_cross_entropy']
    inputs = case['inputs']
    for settings, published in case['results'].items():
        alpha, gamma = (float(part.split('=')[1]) for part in settings.split(','))
        ours = focal_cross_entropy(inputs['pred'], inputs['gt'], inputs['weight'], alpha, gamma)
        assert ours.item() == pytest.approx(published, rel=1e-5)


def test_mask_losses_are_the_published_ones(cases):
    case = cases['single_functions']['mask_losses']
    inputs = case['inputs']
    query = torch.arange(6).expand(3, -1)
    for void, key in ((inputs['void'], 'dice'), (None, 'dice_without_void_masking')):
        entropy, dice = competing_mask_losses(
            inputs['mask_logits'], query, inputs['targets'] * ~inputs['void'][:, None]
            if void is not None else inputs['targets'], void)
        entropy = entropy.mean()
        dice = 0.75 / inputs['mask_logits'].shape[1] * (
            dice * inputs['matched_class_probability']).sum(1).mean()
        assert dice.item() == pytest.approx(case[key], rel=1e-5)
        if void is not None:
            assert entropy.item() == pytest.approx(case['mask_id_cross_entropy'], rel=1e-5)


def random_case(sizes, size=(33, 65), queries=7, classes=4, seed=0):
    """Predictions of several layers and segments with an index map, the second image without."""
    torch.manual_seed(seed)
    segments = SegmentBatch([
        SegmentMap(torch.tensor([2, 0, 3]), map=torch.randint(-1, 3, size, dtype=torch.int32)),
        SegmentMap(torch.zeros(0).long(), map=torch.full(size, -1, dtype=torch.int32))], size)
    predictions = [KMaXPrediction(
        torch.randn(2, queries, classes + 1), torch.randn(2, queries, *layer),
        torch.nn.functional.normalize(torch.randn(2, 6, *layer), dim=1)) for layer in sizes]
    return predictions, segments


def test_layers_are_compared_at_the_last_ones_size(monkeypatch):
    """Small layers are resized and sampled as one, which equals resizing them first."""
    predictions, segments = random_case([(2, 3), (5, 9), (9, 17)])
    resized = [KMaXPrediction(prediction.cls_logits, *(
        resize(maps, (9, 17), True) for maps in prediction[1:])) for prediction in predictions]
    monkeypatch.setattr(kmax, 'sample_pixels', lambda logits, num: torch.arange(40).expand(2, -1))
    criterion = KMaXCriterion(4)
    ours, expected = (criterion(x, None, segments) for x in (predictions, resized))
    assert ours.keys() == expected.keys() and len(ours) == 12
    for name in ours:
        torch.testing.assert_close(ours[name], expected[name])


def test_all_gradients_exist_in_a_batch_without_segments():
    predictions, segments = random_case([(2, 3), (9, 17)])
    empty = SegmentBatch([SegmentMap(torch.zeros(0).long(), map=torch.full((33, 65), -1))] * 2,
                         segments.size)
    for prediction in predictions:
        for tensor in prediction:
            tensor.requires_grad_()
    semantic = torch.randn(2, 5, 9, 17, requires_grad=True)
    losses = KMaXCriterion(4)(predictions, semantic, empty)
    sum(losses.values()).backward()
    for tensor in (*predictions[0], *predictions[1], semantic):
        assert tensor.grad is not None and tensor.grad.isfinite().all()
    assert losses['loss_mask'] == losses['loss_dice'] == losses['loss_semantic'] == 0


def test_losses_are_taken_in_single_precision_under_autocast():
    predictions, segments = random_case([(9, 17)])
    half = [KMaXPrediction(*(tensor.bfloat16() for tensor in predictions[0]))]
    criterion = KMaXCriterion(4)
    with torch.autocast('cpu', torch.bfloat16):
        torch.manual_seed(1)
        losses = criterion(half, None, segments)
    torch.manual_seed(1)
    expected = criterion([half[0].float()], None, segments)
    for name, loss in losses.items():
        assert loss.dtype == torch.float32 and torch.equal(loss, expected[name])


def test_strides_that_lead_to_a_map():
    assert find_stride((1281, 1281), (321, 321)) == 4
    assert find_stride((1025, 2049), (33, 65)) == 32
    assert find_stride((33, 33), (2, 2)) == 32
    assert find_stride((64, 96), (16, 24)) == 4
    with pytest.raises(ValueError, match=r'no stride maps an input of size \(33, 33\)'):
        find_stride((33, 33), (8, 9))


def test_semantic_targets_of_every_nth_pixel():
    _, segments = random_case([(9, 17)])
    labels = semantic_targets(segments, 4)
    full = torch.cat([torch.tensor([2, 0, 3]), torch.tensor([-1])])[segments._planes[0].long()]
    assert torch.equal(labels[0], full[::4, ::4]) and (labels[1] == -1).all()


def test_semantic_targets_of_overlapping_segments():
    masks = torch.zeros(3, 33, 65, dtype=torch.bool)
    masks[0, :20], masks[1, 10:, :40], masks[2, 5:7] = True, True, True
    segments = SegmentBatch([SegmentMap(torch.tensor([2, 0, 3]), masks=masks),
                             SegmentMap(torch.zeros(0).long(), masks=masks[:0])], (33, 65))
    full = torch.full((33, 65), -1)
    for mask, label in zip(masks, [2, 0, 3]):
        full[mask] = label
    labels = semantic_targets(segments, 4)
    assert torch.equal(labels[0], full[::4, ::4]) and (labels[1] == -1).all()


def test_sampling_from_a_map_of_another_size_is_refused():
    predictions, segments = random_case([(9, 17)])
    with pytest.raises(ValueError, match='set num_semantic_pixels=0 to use all pixels'):
        KMaXCriterion(4)(predictions, torch.randn(2, 4, 2, 3), segments)
    losses = KMaXCriterion(4, num_semantic_pixels=0)(
        predictions, torch.randn(2, 4, 2, 3), segments)
    assert losses['loss_semantic'] > 0
