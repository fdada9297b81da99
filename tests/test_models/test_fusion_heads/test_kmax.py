"""kMaX-DeepLab's fusion against the published post-processing."""
import pytest
import torch
import torch.nn.functional as F

from mmpanseg.models.fusion_heads.kmax import KMaXFusionHead, published_shape
from mmpanseg.models.fusion_heads.semantic import semantic_score_reader
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.structures.mask_logits import DenseMaskLogits


@pytest.fixture
def cases(golden):
    return torch.load(golden / 'kmax_deeplab/postprocess.pth', weights_only=True)


@pytest.fixture
def small_chunks(monkeypatch):
    """A few queries or rows at a time."""
    for module in ('inference.full_size_masks', 'fusion_heads.semantic', 'fusion_heads.segments'):
        monkeypatch.setattr(f'mmpanseg.models.{module}.chunk_rows', lambda *_: 3)


def things_first(settings: dict) -> list[int]:
    """Published classes in our order."""
    things = settings['thing_classes']
    return things + [c for c in range(settings['num_classes']) if c not in things]


def build(settings: dict, thresholds: dict, **kwargs) -> KMaXFusionHead:
    things = len(settings['thing_classes'])
    return KMaXFusionHead(
        things, settings['num_classes'] - things,
        (thresholds['class_threshold_thing'], thresholds['class_threshold_stuff']),
        thresholds['pixel_confidence_threshold'], thresholds['overlap_threshold'],
        thresholds['reorder_class_weight'], thresholds['reorder_mask_weight'], **kwargs)


def as_published(result, order: list[int]) -> tuple[torch.Tensor, list[dict]]:
    """Ids 1, 2, ... in the order of acceptance, 0 = void."""
    panoptic = torch.zeros_like(result.sem_seg[0])
    segments = []
    for number, segment in enumerate(result.metainfo['segments_info'], 1):
        panoptic[result.sem_seg[0] == segment['id']] = number
        segments.append(dict(id=number, isthing=segment['isthing'],
                             category_id=order[segment['label']]))
    return panoptic, segments


def logits_of(cls_logits: torch.Tensor, order: list[int]) -> torch.Tensor:
    return cls_logits[..., [*order, cls_logits.shape[-1] - 1]]


@pytest.mark.usefixtures('small_chunks')
@pytest.mark.parametrize('name', ['single', 'single_2'])
@pytest.mark.parametrize('thresholds', ['coco', 'cityscapes', 'ade20k', 'nothing_confident'])
def test_panoptic_results_are_the_published_ones(cases, name, thresholds):
    case = cases[name]
    size = tuple(case['inputs']['mask_logits'].shape[1:])
    order = things_first(case['settings'])
    expected = case['panoptic'][thresholds]
    head = build(case['settings'], expected['thresholds'])
    result, = head.predict(
        logits_of(case['inputs']['class_logits'], order)[None],
        DenseMaskLogits([case['inputs']['mask_logits'][None]]),
        [dict(batch_input_shape=size, img_shape=size, ori_shape=size)])
    panoptic, segments = as_published(result['pred_panoptic_seg'], order)
    assert segments == expected['segments_info']
    assert torch.equal(panoptic, expected['panoptic_seg'])


@pytest.mark.parametrize('name', ['single', 'single_2'])
@pytest.mark.parametrize('kind', ['things_only', 'all_classes'])
def test_instances_are_the_published_ones(cases, name, kind):
    case = cases[name]
    settings, expected = case['settings'], case['instance'][kind]
    order = things_first(settings)
    size = tuple(case['inputs']['mask_logits'].shape[1:])
    things = len(settings['thing_classes']) if kind == 'things_only' else settings['num_classes']
    head = KMaXFusionHead(things, settings['num_classes'] - things)
    result, = head.predict(
        logits_of(case['inputs']['class_logits'], order)[None],
        DenseMaskLogits([case['inputs']['mask_logits'][None]]),
        [dict(batch_input_shape=size, img_shape=size, ori_shape=size)],
        outputs=OutputOptions(panoptic_on=False, instance_on=True,
                        max_per_image=settings['test_topk_per_image']))
    instances = result['pred_instances']
    by_score = instances.scores.argsort(descending=True)
    torch.testing.assert_close(instances.scores[by_score], expected['scores'])
    ours = sorted((round(score, 5), order[label], mask.sum().item()) for score, label, mask in zip(
        instances.scores.tolist(), instances.labels.tolist(), instances.masks))
    published = sorted((round(score, 5), label, mask.sum().item()) for score, label, mask in zip(
        expected['scores'].tolist(), expected['classes'].tolist(), expected['masks']))
    assert [x[1:] for x in ours] == [x[1:] for x in published]


@pytest.mark.usefixtures('small_chunks')
@pytest.mark.parametrize('name', ['single', 'single_2'])
def test_semantic_scores_are_the_published_ones(cases, name):
    case = cases[name]
    size = tuple(case['inputs']['mask_logits'].shape[1:])
    view, = KMaXFusionHead(case['settings']['num_classes'], 0).views(
        case['inputs']['class_logits'][None],
        DenseMaskLogits([case['inputs']['mask_logits'][None]]),
        [dict(batch_input_shape=size, img_shape=size, ori_shape=size)])
    torch.testing.assert_close(
        semantic_score_reader(view)(0, size[0]), case['semantic'], atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures('small_chunks')
@pytest.mark.parametrize('name', ['pipeline_square', 'pipeline_wide'])
def test_the_whole_tail_is_the_published_one(cases, name):
    """Upsampled with corners aligned, cut, resized, then fused; all outputs from one pass."""
    case = cases[name]
    settings, inputs = case['settings'], case['inputs']
    order = things_first(settings)
    metainfos = [dict(batch_input_shape=tuple(settings['input_shape']),
                      img_shape=tuple(image['resized']), ori_shape=tuple(image['original']))
                 for image in settings['images']]
    results = build(settings, settings['thresholds'], crop='published').predict(
        logits_of(inputs['pred_logits'], order), DenseMaskLogits([inputs['pred_masks']]),
        metainfos, outputs=OutputOptions(instance_on=True, semantic_on=True,
                                   max_per_image=settings['test_topk_per_image']))
    for result, expected in zip(results, case['results'], strict=True):
        panoptic, segments = as_published(result['pred_panoptic_seg'], order)
        assert segments == expected['segments_info']
        assert torch.equal(panoptic, expected['panoptic_seg'].int())
        semantic = torch.tensor(order)[result['pred_sem_seg'].sem_seg[0].long()]
        assert (semantic != expected['semantic_argmax']).sum() == 0
        instances = result['pred_instances']
        by_score = instances.scores.argsort(descending=True)
        torch.testing.assert_close(
            instances.scores[by_score], expected['instance_scores'].sort(descending=True).values)
        assert sorted(instances.masks.flatten(1).sum(1).tolist()) == sorted(
            expected['instance_areas'].tolist())


def test_what_is_smaller_than_its_limit_becomes_void():
    size = (8, 8)
    cls_logits = torch.full((1, 4, 4), -9.0)  # 2 things, 1 stuff, void
    for query, label in enumerate((0, 1, 2, 2)):
        cls_logits[0, query, label] = 9
    owner = torch.zeros(size, dtype=torch.long)  # query 0 has 40 pixels
    owner[5], owner[6], owner[7] = 1, 2, 3
    logits = F.one_hot(owner, 4).permute(2, 0, 1)[None].float() * 20
    metainfo = dict(batch_input_shape=size, img_shape=size, ori_shape=size)

    def segments(**kwargs):
        result, = KMaXFusionHead(2, 1, **kwargs).predict(
            cls_logits, DenseMaskLogits([logits]), [metainfo])
        info = result['pred_panoptic_seg'].metainfo['segments_info']
        seg = result['pred_panoptic_seg'].sem_seg
        return {segment['label']: (seg == segment['id']).sum().item() for segment in info}, seg

    assert segments()[0] == {0: 40, 1: 8, 2: 16}
    assert segments(area_limit=(8, 16))[0] == {0: 40, 1: 8, 2: 16}
    found, panoptic = segments(area_limit=(9, 17))
    assert found == {0: 40} and (panoptic[0, 5:] == 3).all()


@pytest.mark.parametrize('kwargs, text', [
    (dict(mask_thr=0), 'mask_thr=0 must be between 0 and 1'),
    (dict(score_thr=(1, 2, 3)), 'score_thr=.1, 2, 3. must be one number, or two'),
    (dict(align_corners='yes'), "align_corners='yes' is unknown"),
    (dict(crop='yes'), "crop='yes' is unknown; choose one of image, published"),
])
def test_settings_that_do_not_fit_are_refused(kwargs, text):
    with pytest.raises(ValueError, match=text):
        KMaXFusionHead(3, 2, **kwargs)


def test_published_crop_takes_resized_images_only():
    cityscapes = dict(
        batch_input_shape=(1025, 2049), img_shape=(1025, 2049), ori_shape=(1024, 2048))
    assert published_shape(cityscapes) == [1024, 2049]
    for image in ((640, 800), (1281, 1600)):
        with pytest.raises(ValueError, match="crop='published' .* set crop='image'"):
            published_shape(dict(
                batch_input_shape=(1281, 1601), img_shape=image, ori_shape=(640, 640)))
