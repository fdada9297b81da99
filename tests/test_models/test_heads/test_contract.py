"""All heads keep the contract of PanopticHead: predictions, what they can show, and refusals."""
import pytest
import torch

from mmpanseg.models.heads import PanopticHead
from mmpanseg.structures.segment_map import SegmentBatch

from ..systems import SYSTEMS, batch, build

SIZES = (64, 96), (48, 80)
REFUSAL = 'has no predictions of every decoder layer: .*mmpanseg.Mask2FormerHead'


@pytest.fixture(params=SYSTEMS)
def case(request):
    """Name, head, features, metainfos and ground truth of a padded batch."""
    model = build(request.param).eval()
    data = model.data_preprocessor(batch(*SIZES), False)
    samples = data['data_samples']
    with torch.no_grad():
        features = model.extract_feat(data['inputs'])
    return (request.param, model.panoptic_head, features, [s.metainfo for s in samples],
            SegmentBatch([s.gt_segments for s in samples], samples[0].batch_input_shape))


def dense(masks, count, images=2):
    return torch.stack([masks.dense(-1, image, torch.arange(count)) for image in range(images)])


@torch.no_grad()
def test_predictions_are_the_last_of_forward(case):
    name, head, features, metainfos, _ = case
    assert isinstance(head, PanopticHead)
    assert (head.num_classes, head.num_queries) == (4, 8)
    cls_logits, masks = head.predict(features, metainfos)
    with_queries = head.predict_with_queries(features, metainfos)
    assert torch.equal(with_queries[0], cls_logits)
    count = cls_logits.shape[1]
    assert torch.equal(dense(with_queries[1], count), dense(masks, count))
    if name == 'panoptic_segformer':
        raw = head(features, metainfos)
        assert torch.equal(cls_logits, raw.cls_logits)
        assert torch.equal(with_queries[2], raw.queries)
        assert cls_logits.shape[-1] == head.num_classes
    else:
        raw_logits, raw_masks = head(features, metainfos)
        torch.testing.assert_close(cls_logits, raw_logits[-1])
        torch.testing.assert_close(dense(masks, count), dense(raw_masks, count))
        assert with_queries[2].tolist() == [list(range(8))] * 2
        assert cls_logits.shape[-1] == head.num_classes + 1


@torch.no_grad()
def test_only_panoptic_segformer_reads_the_padding(case):
    name, head, features, metainfos, _ = case
    with_padding, without = head.predict(features, metainfos)[0], head.predict(features)[0]
    assert torch.equal(with_padding[0], without[0])  # the first image fills the batch
    assert torch.equal(with_padding[1], without[1]) == (name != 'panoptic_segformer')


@torch.no_grad()
def test_what_a_head_cannot_show_is_refused(case):
    name, head, features, _, segments = case
    if name in ('panoptic_segformer', 'kmax_deeplab'):
        with pytest.raises(ValueError, match=f'{type(head).__name__} {REFUSAL}'):
            head.layer_predictions(features, segments)


@pytest.mark.parametrize('name', ['mask2former', 'mp_former'])
@torch.no_grad()
def test_layer_predictions_are_those_of_forward(name):
    model = build(name).eval()
    data = model.data_preprocessor(batch(*SIZES), False)
    features, samples = model.extract_feat(data['inputs']), data['data_samples']
    segments = model.panoptic_head.batch_segments(samples)
    found = model.panoptic_head.layer_predictions(features, segments)
    cls_logits, masks = model.panoptic_head(features)
    assert torch.equal(found.cls_logits, cls_logits) and len(found.mask_logits) == 3
    assert torch.equal(found.mask_logits.embeds, masks.embeds)
    assert found.counts == [8, 8]
    with pytest.raises(ValueError, match="part='denoising' is not a set of queries of M"):
        model.panoptic_head.layer_predictions(features, segments, 'denoising')


@pytest.mark.parametrize('name, options, text', [
    ('mask2former', dict(score_activation='sigmoid'),
     "score_activation='sigmoid' does not fit the class logits of Mask2FormerHead: set it to"),
    ('panoptic_segformer', dict(score_activation='softmax'),
     "score_activation='softmax' does not fit .* PanopticSegFormerHead: set it to 'sigmoid'"),
    ('mp_former', dict(mask_activation='none'),
     "mask_activation does not fit the masks of MPFormerHead: set it to 'sigmoid'"),
    ('panoptic_segformer', dict(mask_activation='sigmoid'),
     "mask_activation does not fit the masks of PanopticSegFormerHead: set it to 'none'")])
def test_activations_of_the_fusion_head_are_checked_at_build(name, options, text):
    with pytest.raises(ValueError, match=text):
        build(name, parts=dict(panoptic_fusion_head=options))


def test_a_head_without_the_contract_is_refused():
    with pytest.raises(ValueError, match='KMaXSemanticHead is not a mmpanseg PanopticHead'):
        build('mask2former', parts=dict(panoptic_head=dict(type='mmpanseg.KMaXSemanticHead')))
