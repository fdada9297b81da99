"""Explanations against slow definitions; choices and what cannot be explained."""
import re

import numpy as np
import pytest
import torch

from mmpanseg.apis import Predictor
from mmpanseg.engine.command_line import UsageError
from mmpanseg.explain import explain
from mmpanseg.explain.choice import choose, parse_choice
from mmpanseg.explain.grids import Grid, grid_of
from mmpanseg.explain.measures import best_classes, mask_iou
from mmpanseg.models.heads import PanopticHead
from mmpanseg.results import Result

SYSTEMS = ('mask2former', 'mp_former', 'panoptic_segformer', 'kmax_deeplab')
# every segment of the tiny models, however low its score
LOW = dict(mask2former=dict(object_mask_thr=0.0, iou_thr=0.0),
           mp_former=dict(object_mask_thr=0.0, iou_thr=0.0),
           panoptic_segformer=dict(t_cnf=0.0, t_keep=0.0),
           kmax_deeplab=dict(score_thr=0.0, overlap_thr=0.0, mask_thr=0.1))


def numbers(rows):
    return np.array(rows, np.int32)


@pytest.fixture
def result():
    """Six pixels: 1 is a cat, 2 and 3 are dogs, 4 is sky; the rest is void."""
    ids = numbers([[1, 2, 2, 2, 0, 3], [4, 4, 4, 4, 4, 3]])
    segments = [dict(id=1, label=0, score=0.9), dict(id=2, label=1, score=0.8),
                dict(id=3, label=1, score=0.7), dict(id=4, label=2, score=None)]
    return Result((2, 6), ('cat', 'dog', 'sky', 'sea'), 2, panoptic=(ids, segments))


@pytest.mark.parametrize(('choices', 'expected'), [
    ([], [4, 2, 3]), ([3], [3]), (['dog'], [2, 3]), ([(0, 0), 4], [1, 4]), ([(5, 1)], [3]),
    ([3, 'dog', (1, 0)], [3, 2])])
def test_choices(result, choices, expected):
    assert [segment.id for segment in choose(result, choices, 3)] == expected


@pytest.mark.parametrize(('choice', 'text'), [
    (5, 'segment 5 does not exist: the segments of this image are 1 .. 4'),
    (0, 'segment 0 does not exist'), (-1, 'segment -1 does not exist'),
    ('sea', "no segment of class 'sea': its segments are of cat, dog, sky"),
    ('dogs', "did you mean 'dog'"),
    ((6, 0), 'pixel 6,0 (x,y) is outside of the image, which has x 0 .. 5 and y 0 .. 1'),
    ((0, -1), 'pixel 0,-1 (x,y) is outside'), ((4, 0), 'pixel 4,0 (x,y) is void')])
def test_impossible_choices(result, choice, text):
    with pytest.raises(UsageError, match=re.escape(text)):
        choose(result, [choice], 3)


def test_an_image_without_segments():
    empty = Result((1, 2), ('cat', ), 1, panoptic=(numbers([[0, 0]]), []))
    with pytest.raises(UsageError, match='finds no segment'):
        choose(empty, [], 3)


@pytest.mark.parametrize(('text', 'choice'), [
    ('3', 3), ('-1', -1), ('12,7', (12, 7)), ('12, -7', (12, -7)), ('person', 'person'),
    ('road, dirt', 'road, dirt'), ('7', '7'), ('1,2', '1,2')])
def test_text_of_a_choice(text, choice):
    classes = ('person', '7', '1,2') if choice == text else ('person', )
    assert parse_choice(text, classes) == choice


def test_cells_that_an_image_covers():
    # 40 x 70 pixels in an input of 64 x 96: at stride 16, 2.5 x 4.375 cells of 4 x 6
    grid = grid_of((4, 6), dict(img_shape=(40, 70), batch_input_shape=(64, 96)))
    assert grid == Grid(16, (2.5, 4.375))
    assert grid.cut(np.zeros((2, 4, 6))).shape == (2, 3, 5)
    # 65 pixels at stride 32: 3 cells
    assert grid_of((3, 3), dict(img_shape=(50, 60), batch_input_shape=(65, 65))).stride == 32
    mask = np.random.default_rng(0).random((80, 140)) > 0.4  # an image of twice the size
    coverage = grid.coverage(mask, (4, 6))
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    spread = grid.spread(values, mask.shape)
    for y in range(4):
        for x in range(6):
            own = [mask[i, j] for i in range(80) for j in range(140)
                   if (i + 0.5) / 2 // 16 == y and (j + 0.5) / 2 // 16 == x]
            assert coverage[y, x] == pytest.approx(np.mean(own) if own else 0, abs=1e-6)
    assert spread[79, 139] == values[2, 4] and spread[31, 32] == values[0, 1]


def test_iou_and_best_classes():
    one, other = np.array([True, True, False, False]), np.array([False, True, True, False])
    assert mask_iou(one, other) == 1 / 3
    assert mask_iou(one & other & False, other & False) == 0
    found = best_classes(torch.tensor([0.2, 0.5, 0.0, 0.3]), ('cat', 'dog', 'sky'))
    assert [(name, round(score, 3)) for name, score in found] == [
        ('dog', 0.5), ('no object', 0.3), ('cat', 0.2)]


@pytest.fixture(scope='module')
def explained(system, pictures):
    """Predictor and explanation of the first picture for a system, made once."""
    made = {}

    def make(name):
        if name not in made:
            predictor = Predictor(*system(name, panoptic_fusion_head=LOW[name]))
            made[name] = predictor, explain(predictor, pictures[0], limit=3)
        return made[name]
    return make


@pytest.mark.parametrize('name', SYSTEMS)
def test_explanation_of_a_system(name, explained, pictures):
    predictor, found = explained(name)
    expected = predictor(pictures[0], task='panoptic')
    np.testing.assert_array_equal(found.result.panoptic_map, expected.panoptic_map)
    assert [one.segment for one in found.listed] == expected.panoptic_segments
    areas = sorted((one.area for one in expected.panoptic_segments), reverse=True)
    assert [one.segment.area for one in found.explained] == areas[:3]
    logits = predictor.logits(pictures[0])
    view = predictor.fusion_head().views(
        logits.parts[0].cls_logits, logits.parts[0].mask_logits, [logits.metainfo])[0]
    rows = torch.arange(len(view.probs))
    inside = torch.cat([part > view.masks.activation.threshold
                        for part in view.masks.chunks(rows)]).numpy()
    for one in found.explained:
        pixels = found.result.panoptic_map == one.segment.id
        # the query that has the segment, and its own mask
        assert one.fate.rule == 'kept' and one.fate.segment == one.segment.id
        assert one.fate.query == one.row
        assert one.area == inside[one.row].sum()
        assert one.iou == pytest.approx(mask_iou(inside[one.row], pixels))
        assert one.layers[-1].iou == 1 and one.layers[-1].area == one.area
        ious = {row: mask_iou(mask, pixels) for row, mask in enumerate(inside) if row != one.row}
        best = sorted(ious.values(), reverse=True)[:5]
        assert [runner.iou for runner in one.runner_ups] == pytest.approx(
            [iou for iou in best if iou >= 0.01])
        for runner in one.runner_ups:
            assert ious[runner.row] == pytest.approx(runner.iou) and runner.fate.query == runner.row
            assert runner.fate.segment != one.segment.id or runner.fate.rule == 'merged'
        for look in (look for layer in one.layers for look in layer.looks):
            assert all(0 <= share <= 1.0001 for share in look.inside)


@pytest.mark.parametrize('name', ['mask2former', 'panoptic_segformer'])
def test_share_of_the_attention_inside_the_mask(name, explained):
    _, found = explained(name)
    one = found.explained[0]
    final = one.final_mask >= 0.5
    for layer in one.layers:
        for look in layer.looks:
            (rows, columns), total = Grid(look.stride, look.extent).places(final.shape), 0.0
            for y in range(look.heads.shape[1]):
                for x in range(look.heads.shape[2]):
                    cell = final[rows == y][:, columns == x]
                    total += look.mean[y, x] * (cell.mean() if cell.size else 0)
            assert np.mean(look.inside) == pytest.approx(total, abs=0.02)


def test_points_are_places_in_the_image(explained):
    _, found = explained('panoptic_segformer')
    one = next(one for one in found.explained if one.layers[0].points is not None)
    points = one.layers[0].points
    final = one.final_mask >= 0.5
    height, width = final.shape
    hit = total = 0.0
    for (x, y), weight in zip(points.places.reshape(-1, 2), points.weights.ravel()):
        total += weight
        if 0 <= x < 1 and 0 <= y < 1:
            hit += weight * final[int(y * height), int(x * width)]
    assert points.inside == pytest.approx(hit / total, abs=1e-5)


def test_choice_threshold_and_fusion_of_a_call(explained, pictures):
    predictor, found = explained('mask2former')
    name = found.listed[0].segment.name
    chosen = explain(predictor, pictures[0], [name, 1], fusion='mask_wise', score_thr=0.0)
    expected = predictor(pictures[0], task='panoptic', fusion='mask_wise', score_thr=0.0)
    np.testing.assert_array_equal(chosen.result.panoptic_map, expected.panoptic_map)
    assert chosen.model == 'Mask2FormerHead, MaskWiseFusionHead'
    with pytest.raises(UsageError, match='no segment in this image'):
        explain(predictor, pictures[0], score_thr=1.0)


@pytest.mark.parametrize(('changes', 'text'), [
    (dict(test_cfg=dict(panoptic_on=False, semantic_on=True)), 'no panoptic result'),
    (dict(test_cfg=dict(mode='tile', tile=(64, 64), overlap=8)),
     'segments of tiles are stitched')])
def test_models_that_cannot_be_explained(system, pictures, changes, text):
    predictor = Predictor(*system('mask2former', **changes))
    with pytest.raises(UsageError, match=text):
        explain(predictor, pictures[0])


def test_augmented_views_cannot_be_explained(system, pictures):
    predictor = Predictor(*system('mask2former'), tta=True)
    with pytest.raises(UsageError, match='mean of augmented views'):
        explain(predictor, pictures[0])


def test_several_images_cannot_be_explained(explained, pictures):
    with pytest.raises(UsageError, match='one image is explained at a time'):
        explain(explained('mask2former')[0], pictures[:2])


def test_unknown_heads_cannot_be_explained(system, pictures):
    model, cfg = system('mask2former')
    predictor = Predictor(model, cfg)
    model.panoptic_head = PanopticHead()
    with pytest.raises(ValueError, match='PanopticHead cannot be explained'):
        explain(predictor, pictures[0])
