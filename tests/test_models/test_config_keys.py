"""Unknown keys in a model's config are errors at build that list the existing keys."""
import pytest

from mmpanseg.registry import MODELS, TASK_UTILS


def mask2former(**options):
    return dict(
        type='mmpanseg.Mask2FormerHead', in_channels=[8, 16, 32, 64], num_queries=4, channels=32,
        out_channels=32,
        pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=1,
                           feedforward_channels=32),
        transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=1,
                                 feedforward_channels=32), **options)


def segformer(**options):
    return dict(dict(
        type='mmpanseg.PanopticSegFormerHead', in_channels=[16, 32, 64], num_queries=4,
        channels=32,
        pixel_decoder=dict(type='mmpanseg.DeformableTokenEncoder', num_layers=1,
                           feedforward_channels=32),
        location_decoder=dict(num_layers=1, feedforward_channels=32)), **options)


def model(head=None, fusion=None, **options):
    head = head or mask2former()
    maps = tuple(range(4 - len(head['in_channels']), 4))
    return MODELS.build(dict(
        type='mmpanseg.MaskTransformer', num_things_classes=2, num_stuff_classes=2,
        backbone=dict(type='ResNet', depth=18, base_channels=8, out_indices=maps),
        panoptic_head=head,
        **({'panoptic_fusion_head': fusion} if fusion else {}), **options))


@pytest.mark.parametrize('build, unknown, known', [
    (lambda: model(mask2former(num_querys=9)), "Mask2FormerHead has no entry 'num_querys', did "
     "you mean 'num_queries'?", 'transformer_decoder'),
    (lambda: model(mask2former(criterion=dict(type='mmpanseg.MaskCriterion', num_point=9))),
     "MaskCriterion has no entry 'num_point', did you mean 'num_points'?", 'oversample_ratio'),
    (lambda: model(mask2former(criterion=dict(type='mmpanseg.MaskCriterion', match_costs=[
        dict(type='mmpanseg.MaskDiceCost', wait=2.0)]))), "MaskDiceCost has no entry 'wait'",
     'allowed entries: eps, weight'),
    (lambda: model(mask2former(criterion=dict(
        type='mmpanseg.MaskCriterion', assigner=dict(rounds=3)))),
     "OneToOneAssigner has no entry 'rounds'", ''),
    (lambda: model(segformer(criterion=dict(assigner=dict(rounds=3)))),
     "MultiRoundAssigner has no entry 'rounds', did you mean 'num_rounds'?", 'num_rounds'),
    (lambda: model(segformer(criterion=dict(assigner=dict(one_to_one=dict())))),
     "MultiRoundAssigner has no entry 'one_to_one'", 'round_assigner'),
    (lambda: model(segformer(mask_decoder=dict(num_head=2))),
     "MaskAttentionDecoder has no entry 'num_head', did you mean 'num_heads'?", 'tail'),
    # arguments of a parent class are known, too
    (lambda: model(fusion=dict(type='mmpanseg.PixelwiseFusionHead', mask_act='none')),
     "PixelwiseFusionHead has no entry 'mask_act'", 'mask_activation'),
    (lambda: model(fusion=dict(type='mmpanseg.KMaXFusionHead', filter_low_score=True)),
     "KMaXFusionHead has no entry 'filter_low_score'", 'mask_thr'),
    (lambda: model(fusion=dict(type='mmpanseg.PixelwiseFusionHead', fill=True)),
     "PixelwiseFusionHead has no entry 'fill'", 'filter_low_score'),
    (lambda: model(train_cfg=dict(num_points=9)), "model has no entry 'train_cfg'",
     'options of panoptic_head.criterion'),
    (lambda: model(test_config=dict()), "'test_config', did you mean 'test_cfg'?", 'backbone')])
def test_unknown_keys(build, unknown, known):
    with pytest.raises(TypeError) as error:
        build()
    assert unknown in str(error.value) and known in str(error.value)


@pytest.mark.parametrize('fusion, former, name', [
    ('PixelwiseFusionHead', 'score_thr', 'object_mask_thr'),
    ('PixelwiseFusionHead', 'overlap_thr', 'iou_thr'),
    ('HeuristicFusionHead', 'overlap_thr', 'mask_overlap')])
def test_former_names_of_options(fusion, former, name):
    with pytest.warns(FutureWarning, match=f'{former} is called {name} now'):
        built = model(fusion={'type': f'mmpanseg.{fusion}', former: 0.3})
    assert getattr(built.panoptic_fusion_head, name) == 0.3


@pytest.mark.parametrize('test_cfg, texts', [
    (dict(instances_on=True), ["no entry 'instances_on', did you mean 'instance_on'?",
                               'max_per_image']),
    (dict(tile=(160, 160)), ["tile is for tiles: set model.test_cfg.mode='tile'"]),
    (dict(overlap=64), ['overlap is for tiles'])])
def test_test_cfg(test_cfg, texts):
    with pytest.raises(ValueError) as error:
        model(test_cfg=test_cfg)
    assert all(text in str(error.value) for text in texts)


def test_tiles_may_wait():
    assert model(test_cfg=dict(mode='whole', tile=(160, 160))).tiling is None


def test_errors_of_another_kind_stay():
    @TASK_UTILS.register_module(force=True)
    class Broken:
        def __init__(self, weight=1):
            raise TypeError('weight is wrong')
    with pytest.raises(TypeError, match='^weight is wrong$'):
        TASK_UTILS.build(dict(type='mmpanseg.Broken', weight=2))


@pytest.mark.parametrize('criterion, text', [
    (dict(assigner=dict(type='mmpanseg.MultiRoundAssigner')),
     'assigner builds mmpanseg.MultiRoundAssigner.*mmpanseg.OneToOneAssigner'),
    (dict(assigner=dict(type='mmdet.HungarianAssigner', match_costs=[
        dict(type='mmdet.ClassificationCost')])),
     'assigner builds mmdet.HungarianAssigner.*mmpanseg.OneToOneAssigner'),
    (dict(match_costs=[dict(type='mmpanseg.LocationL1Cost')]),
     r'match_costs has mmpanseg.LocationL1Cost.*\(MaskMatchInputs\)'),
    (dict(match_costs=[dict(type='mmdet.DiceCost')]), 'match_costs has mmdet.DiceCost'),
])
def test_what_mask2former_cannot_match_with(criterion, text):
    with pytest.raises(TypeError, match=f'(?s)criterion.{text}'):
        model(mask2former(criterion=dict(criterion, type='mmpanseg.MaskCriterion')))


@pytest.mark.parametrize('options, error, text', [
    (dict(criterion=dict(assigner=dict(type='mmpanseg.OneToOneAssigner'))), TypeError,
     'assigner builds mmpanseg.OneToOneAssigner.*mmpanseg.MultiRoundAssigner'),
    (dict(criterion=dict(assigner=dict(round_assigner=dict(type='mmdet.MaxIoUAssigner',
                                                           pos_iou_thr=0.5, neg_iou_thr=0.5)))),
     TypeError, 'assigner.round_assigner builds mmdet.MaxIoUAssigner'),
    (dict(criterion=dict(mask_costs=[dict(type='mmpanseg.MaskDiceCost')])), TypeError,
     r'mask_costs has mmpanseg.MaskDiceCost.*\(LocationMatchInputs\)'),
    (dict(criterion=dict(location_costs=[dict(type='mmpanseg.SquaredDiceCost')])), ValueError,
     'location_costs has mmpanseg.SquaredDiceCost, but there are no masks at this stage'),
    # options without effect
    (dict(filter_queries=False, class_from='mask', criterion=dict(
        mask_cls_weight=1.0, assigner=dict(num_rounds=2))), ValueError,
     'assigner.num_rounds is an option of the selection.*filter_queries=False'),
    (dict(filter_queries=False, class_from='mask', criterion=dict(
        mask_cls_weight=1.0, location_costs=[dict(type='mmpanseg.LocationL1Cost')])), ValueError,
     'location_costs is an option of the selection'),
    (dict(criterion=dict(mask_cls_weight=1.0)), ValueError,
     'mask_cls_weight=1.0 is the weight of a branch.*mask_decoder.classify=True'),
    (dict(criterion=dict(mask_giou_weight=1.0)), ValueError,
     'mask_giou_weight=1.0 is the weight of a branch.*mask_decoder.locate=True')])
def test_what_panoptic_segformer_cannot_match_with(options, error, text):
    with pytest.raises(error, match=f'(?s){text}'):
        model(segformer(**options))
