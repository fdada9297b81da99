"""Which curves stand together, their names, averages and places of labels."""
from pathlib import Path

import numpy as np
import pytest

from mmpanseg.curves.charts import chart_runs, make_charts, on_axis
from mmpanseg.curves.loss_groups import loss_terms, term_sum
from mmpanseg.curves.names import run_names
from mmpanseg.curves.picture import spread
from mmpanseg.curves.run_log import read_run
from mmpanseg.curves.smoothing import smooth
from mmpanseg.pages.line_chart import LINE_COLORS, MAX_POINTS, ramp_color

from .logs import train, val, write_start


def test_losses_of_ten_layers():
    names = [f'{prefix}loss_{term}' for term in ('cls', 'mask', 'dice')
             for prefix in ('', *(f'd{k}.' for k in range(9)))]
    terms = loss_terms(['lr', 'loss', *names, 'grad_norm'])
    assert [term.name for term in terms] == ['loss_cls', 'loss_mask', 'loss_dice']
    assert list(terms[1].layers) == [*(f'd{k}' for k in range(9)), 'last']
    assert terms[1].layers['last'] == 'loss_mask' and terms[1].layers['d8'] == 'd8.loss_mask'


def test_more_than_ten_layers_are_in_order():
    term, = loss_terms(['d10.loss_cls', 'd2.loss_cls', 'loss_cls', 'd1.loss_cls'])
    assert list(term.layers) == ['d1', 'd2', 'd10', 'last']


def test_names_of_panoptic_segformer_and_mp_former():
    terms = loss_terms(['loss_cls', 'd0.loss_cls', 'd0.loss_cls_f', 'loss_mask_things',
                        'd0.loss_mask_things_f', 'loss_mask_mp', 'd0.loss_mask_mp'])
    assert {term.name: list(term.layers.values()) for term in terms} == {
        'loss_cls': ['d0.loss_cls', 'loss_cls'], 'loss_cls_f': ['d0.loss_cls_f'],
        'loss_mask_things': ['d0.loss_mask_things_f', 'loss_mask_things'],
        'loss_mask_mp': ['d0.loss_mask_mp', 'loss_mask_mp']}


def test_the_sum_of_a_term(tmp_path):
    write_start(tmp_path, '20260101_000000', [
        train(10, loss_cls=1.0, **{'d0.loss_cls': 2.0}), train(20, loss_cls=5.0),
        train(30, loss_cls=3.0, **{'d0.loss_cls': 4.5})])
    run = read_run(tmp_path)
    total = term_sum(run, loss_terms(run.train)[0])
    assert total.steps.tolist() == [10, 30] and total.values.tolist() == [3, 7.5]


@pytest.mark.parametrize(('paths', 'names'), [
    (['work_dirs/one'], ['one']),
    (['work_dirs/one', 'other/two'], ['one', 'two']),
    (['a/run', 'b/run'], ['a/run', 'b/run']),
    (['a/x/run', 'b/x/run'], ['a/x/run', 'b/x/run']),
    (['w/mask2former_r50_8xb2-lsj-50e_coco-panoptic',
      'w/mask2former_swin-t-p4_8xb2-lsj-50e_coco-panoptic'], ['r50', 'swin-t-p4']),
    # one would be empty
    (['w/mask2former_r50_8xb2_lsj', 'w/mask2former_r50_8xb2_lsj_long'],
     ['mask2former_r50_8xb2_lsj', 'mask2former_r50_8xb2_lsj_long']),
    (['w/one/20260101_000000/vis_data/scalars.json', 'w/one/20260102_000000/vis_data'],
     ['20260101_000000', '20260102_000000'])])
def test_names_are_short_and_distinct(paths, names):
    assert run_names([Path('/data', path) for path in paths]) == names


def test_averages_are_those_of_their_definition():
    values = np.array([3.0, np.nan, 5.0, 1.0, 8.0, 2.0])
    for weight in (0.0, 0.6, 0.95):
        expected = []
        for n in range(len(values)):
            known = [k for k in range(n + 1) if np.isfinite(values[k])]
            # the weight counts known values, not places
            weights = [weight ** (len(known) - 1 - i) for i in range(len(known))]
            expected.append(np.average(values[known], weights=weights)
                            if np.isfinite(values[n]) else np.nan)
        np.testing.assert_allclose(smooth(values, weight), expected)
    assert smooth(np.zeros(0), 0.5).size == 0


@pytest.mark.parametrize('places', [[0.5], [0.1, 0.9], [0.5, 0.5, 0.5], [0.1, 0.12, 0.13, 0.9]])
def test_labels_move_apart(places):
    moved = spread(places, 0.1)
    assert np.diff(moved).min(initial=1) >= 0.1 - 1e-9
    assert sum(moved) == pytest.approx(sum(places))  # none moves more than it must


def work_dir(folder, offset=0.0, epochs=False):
    more = {'d0.loss_cls': 2.0, 'loss_cls': 1.0, 'loss_mask': 0.5, 'd0.loss_mask': 0.25}
    return write_start(folder, '20260101_000000', [
        *(train(k, offset + 1 / k, **more, **(dict(epoch=k // 11 + 1) if epochs else {}))
          for k in (10, 20, 30)),
        val(30, 40 + offset, **{'panoptic/PQ_th': 30.0, 'panoptic/PQ_st': 50.0,
                                'instance/AP': 11.0, 'instance/AP50': 20.0,
                                'semantic/mIoU': 60.0})])


def test_charts_of_one_run(tmp_path):
    charts = {chart.title: chart for chart in make_charts([read_run(work_dir(tmp_path))])}
    assert [line.name for line in charts['PQ'].lines] == ['all', 'things', 'stuff']
    assert [line.name for line in charts['instance'].lines] == ['AP', 'AP50']
    assert [line.name for line in charts['loss_cls by decoder layer'].lines] == ['d0', 'last']
    terms = charts['Terms of the loss']
    assert {line.name: line.values[0] for line in terms.lines} == dict(
        loss_cls=3.0, loss_mask=0.75)
    assert list(dict.fromkeys(chart.section for chart in charts.values())) == [
        'Scores', 'Losses', 'Training']


def test_charts_of_several_runs(tmp_path):
    runs = [read_run(work_dir(tmp_path / name, offset)) for name, offset in (('a', 0), ('b', 1))]
    runs[0].name, runs[1].name = 'a', 'b'
    charts = {chart.title: chart for chart in make_charts(runs)}
    for title, first, second in (('PQ', 40, 41), ('PQ of things', 30, 30), ('AP', 11, 11),
                                 ('mIoU', 60, 60), ('loss_cls', 3, 3), ('Total loss', 0.1, 1.1)):
        lines = charts[title].lines
        assert [line.name for line in lines] == ['a', 'b']
        assert [line.values[0] for line in lines] == [first, second]
        assert lines[0].color != lines[1].color
    assert len({chart.key for chart in charts.values()}) == len(charts)


def test_axes(tmp_path):
    described, = chart_runs([read_run(work_dir(tmp_path, epochs=True))])
    assert described.epoch_length == 10
    assert on_axis(described, [0, 10, 25], 'epoch').tolist() == [0, 1, 2.5]
    np.testing.assert_allclose(on_axis(described, [0, 5, 20], 'time'),
                               np.array([0, 10, 40]) / 3600)


def luminance(color):
    parts = [int(color[k:k + 2], 16) / 255 for k in (1, 3, 5)]
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
             for part in parts]
    return np.dot(parts, (0.2126, 0.7152, 0.0722))


def contrast(one, two):
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_colors_are_visible_on_their_grounds():
    """Lines need a contrast of 3 (WCAG 2, 1.4.11), which also texts in these colors have."""
    for light, dark in LINE_COLORS:
        assert contrast(light, '#ffffff') >= 3 and contrast(dark, '#1d2326') >= 3
    assert ramp_color(1)[0] == '#00548a' and contrast(ramp_color(1)[0], '#ffffff') > 7


def dichromat(color, matrix):
    linear = np.array([int(color[k:k + 2], 16) / 255 for k in (1, 3, 5)]) ** 2.2
    return np.clip(matrix @ linear, 0, 1) ** (1 / 2.2)


# Machado et al. 2009, severity 1
PROTANOPIA = np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                       [-0.003882, -0.048116, 1.051998]])
DEUTERANOPIA = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                         [-0.011820, 0.042940, 0.968881]])


@pytest.mark.parametrize('matrix', [np.eye(3), PROTANOPIA, DEUTERANOPIA])
@pytest.mark.parametrize('ground', [0, 1])
def test_colors_are_distinct_for_the_color_blind(matrix, ground):
    seen = [dichromat(pair[ground], matrix) for pair in LINE_COLORS]
    least = min(np.linalg.norm(a - b) for k, a in enumerate(seen) for b in seen[:k])
    first = min(np.linalg.norm(a - b) for k, a in enumerate(seen[:4]) for b in seen[:k])
    assert least > 0.18 and first > 0.3, (least, first)


def test_long_series_are_thinned_with_their_peaks():
    from mmpanseg.pages.line_chart import _thinned

    values = np.sin(np.arange(10000) / 50)
    values[4321], values[77] = 9, np.nan
    steps, kept = _thinned(list(range(10000)), values.tolist())
    assert len(steps) <= MAX_POINTS + 2 and max(kept) == 9 and steps[kept.index(9)] == 4321
    assert steps == sorted(steps) and steps[0] == 0 and steps[-1] == 9999
