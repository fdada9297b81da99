"""Scores by class: their values, and what happens when they cannot be written."""
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmpanseg.engine.hooks import ClassScoresHook
from mmpanseg.engine.hooks.class_scores_hook import markdown_table
from mmpanseg.evaluation import PanopticMetric
from mmpanseg.evaluation.class_scores import ClassScores
from mmpanseg.structures.panoptic_png import write_panoptic_png

SCORES = ClassScores('panoptic', ('a|b', 'sky'), (True, False), (50.0, math.nan),
                     (75.0, math.nan), (66.66667, math.nan), (2, 0), (1, 0), (1, 0))


def test_values_of_a_hand_made_image(tmp_path):
    """Two balls, one found with IoU 3 / 4, one missed; the sky found with IoU 11 / 12."""
    truth = np.full((4, 4), 3)
    truth[0, :4] = 1
    truth[1, :1] = 2
    pred = np.full((4, 4), 1)  # label 1: sky
    pred[0, :3] = 1000
    write_panoptic_png(tmp_path / 'truth.png', truth)
    metric = PanopticMetric()
    metric.dataset_meta = dict(classes=('ball', 'sky', 'sea'), thing_classes=('ball', ))
    assert metric.class_scores is None
    metric.process(None, [dict(
        img_id=1, img_path='1.png', ori_shape=(4, 4), seg_map_path=str(tmp_path / 'truth.png'),
        segments_info=[dict(id=1, category=0, is_thing=1), dict(id=2, category=0, is_thing=1),
                       dict(id=3, category=1, is_thing=0)],
        pred_panoptic_seg=dict(PixelData(sem_seg=torch.tensor(pred[None])).items()))])
    result = metric.evaluate(1)
    scores = metric.class_scores
    assert scores.classes == ('ball', 'sky', 'sea') and scores.things == [True, False, False]
    # a ball: RQ = 1 / (1 + 1 / 2), SQ = 3 / 4; the sky has 11 pixels of 13 predicted ones
    assert scores.pq[:2] == pytest.approx([50, 100 * 11 / 13])
    assert scores.sq[:2] == pytest.approx([75, 100 * 11 / 13])
    assert scores.rq[:2] == pytest.approx([200 / 3, 100]) and math.isnan(scores.pq[2])
    assert (scores.tp, scores.fp, scores.fn) == ([1, 1, 0], [0, 0, 0], [1, 0, 0])
    assert result['panoptic/PQ'] == pytest.approx(np.mean(scores.pq[:2]))
    assert scores.record(7) == json.loads(json.dumps(scores.record(7)))


def test_the_table():
    assert markdown_table(SCORES).splitlines() == [
        '| class | kind | PQ | SQ | RQ | TP | FP | FN |',
        '| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |',
        '| a\\|b | thing | 50.00 | 75.00 | 66.67 | 2 | 1 | 1 |',
        '| sky | stuff | - | - | - | 0 | 0 | 0 |']


def runner_of(folder, messages, scores=SCORES):
    return SimpleNamespace(
        val_evaluator=SimpleNamespace(metrics=[SimpleNamespace(),
                                               SimpleNamespace(class_scores=scores)]),
        _train_loop=object(), iter=40, log_dir=str(folder),
        visualizer=SimpleNamespace(_vis_backends={}),
        logger=SimpleNamespace(warning=messages.append))


def test_the_file(tmp_path):
    hook, messages = ClassScoresHook(), []
    hook.after_val_epoch(runner_of(tmp_path, messages))
    hook.after_val_epoch(runner_of(tmp_path, messages, None))  # a test set without ground truth
    line, = (tmp_path / 'vis_data/class_scores.json').read_text().splitlines()
    assert json.loads(line) == dict(
        step=40, prefix='panoptic', classes=['a|b', 'sky'], things=[True, False],
        pq=[50, None], sq=[75, None], rq=[66.6667, None], tp=[2, 0], fp=[1, 0], fn=[1, 0])
    assert not messages


def test_a_full_disk_is_one_warning(tmp_path):
    (tmp_path / 'vis_data').write_text('no folder')
    hook, messages = ClassScoresHook(), []
    for _ in range(2):
        hook.after_val_epoch(runner_of(tmp_path, messages))
    message, = messages
    assert 'scores by class are not logged' in message and 'class_scores.json' in message


def test_every_run_has_the_hook_once(tiny_run):
    def name_it(cfg):
        cfg.custom_hooks = [dict(type='mmpanseg.ClassScoresHook', curves=True)]
    hook, = (hook for hook in tiny_run(name_it).hooks if isinstance(hook, ClassScoresHook))
    assert hook.curves
    hook, = (hook for hook in tiny_run().hooks if isinstance(hook, ClassScoresHook))
    assert not hook.curves
