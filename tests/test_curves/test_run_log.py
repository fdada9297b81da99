"""Logs are found, read and joined at the right steps."""
import json
import math

import numpy as np
import pytest

from mmpanseg.curves.log_files import find_logs
from mmpanseg.curves.run_log import read_run
from mmpanseg.engine.command_line import UsageError

from .logs import classes, train, val, write_start


def values(run, group='train', name='loss'):
    series = getattr(run, group)[name]
    return dict(zip(series.steps.tolist(), series.values.tolist()))


def test_one_start(tmp_path):
    write_start(tmp_path, '20260101_000000', [
        train(10, 4.0, **{'d0.loss_cls': 0.5}, memory=100), train(20, 3.0), val(20, 12.5),
        train(30, 2.0)])
    run = read_run(tmp_path)
    assert values(run) == {10: 4, 20: 3, 30: 2}
    assert values(run, 'val', 'panoptic/PQ') == {20: 12.5}
    assert values(run, name='d0.loss_cls') == {10: 0.5} and values(run, name='memory') == {10: 100}
    # times of the training are not those of the validation
    assert values(run, name='time') == {10: 2, 20: 2, 30: 2}
    assert run.last_step == 30 and not run.notes and run.epoch_length is None
    assert 'step' not in run.train and 'iter' not in run.train
    # 10 steps of 2 seconds each
    np.testing.assert_allclose(run.clock().values, np.array([20, 40, 60]) / 3600)


def test_a_resumed_run_replaces_the_steps_after_its_checkpoint(tmp_path):
    write_start(tmp_path, '20260101_000000', [
        train(10, 1), val(10, 1.0), train(20, 2), val(20, 2.0), train(25, 2.5), train(30, 3),
        val(30, 3.0)],
        class_records=[classes(10, [1, 2]), classes(20, [3, 4])])
    # its log interval is another one, and the validation at its checkpoint runs again
    write_start(tmp_path, '20260102_000000', [
        val(20, 20.0), train(24, 24), train(28, 28), val(30, 30.0)], resumed=20,
        class_records=[classes(20, [30, 40]), classes(30, [50, 60])])
    run = read_run(tmp_path)
    assert values(run) == {10: 1, 20: 2, 24: 24, 28: 28}
    assert values(run, 'val', 'panoptic/PQ') == {10: 1, 20: 20, 30: 30}
    history, = run.classes
    assert history.steps.tolist() == [10, 20, 30]
    assert history.pq.tolist() == [[1, 2], [30, 40], [50, 60]]


def test_a_second_training_in_the_folder_replaces_the_first(tmp_path):
    write_start(tmp_path, '20260101_000000', [train(5, 1), train(10, 2), val(10, 5.0)])
    write_start(tmp_path, '20260102_000000', [train(8, 8)])
    run = read_run(tmp_path)
    assert values(run) == {8: 8} and run.val == {}


def test_three_starts_of_which_one_logged_nothing(tmp_path):
    write_start(tmp_path, '20260101_000000', [train(10, 1), train(20, 2)])
    write_start(tmp_path, '20260102_000000', [], resumed=20)
    write_start(tmp_path, '20260103_000000', [train(20, 5), train(30, 6)], resumed=10)
    run = read_run(tmp_path)
    assert values(run) == {10: 1, 20: 5, 30: 6}
    assert len(run.files) == 3


def test_without_the_text_log_the_first_step_counts(tmp_path):
    write_start(tmp_path, '20260101_000000', [train(k, k) for k in (10, 20, 30, 40)])
    write_start(tmp_path, '20260102_000000', [train(30, 300)], text_log=False)
    assert values(read_run(tmp_path)) == {10: 10, 20: 20, 30: 300}


def test_a_training_by_epochs_with_validations_by_epoch(tmp_path):
    """mmengine's default: losses at steps, scores at epochs; 7 steps in an epoch."""
    write_start(tmp_path, '20260101_000000', [
        train(5, epoch=1), val(1, 1.0), train(12, epoch=2), val(2, 2.0), train(19, epoch=3),
        train(21, epoch=3), val(3, 3.0)])
    run = read_run(tmp_path)
    assert run.epoch_length == 7
    assert values(run, 'val', 'panoptic/PQ') == {7: 1, 14: 2, 21: 3}


def test_a_training_by_epochs_with_validations_by_step(tmp_path):
    write_start(tmp_path, '20260101_000000', [
        train(10, epoch=1), val(10, 1.0), train(20, epoch=2), val(20, 2.0)])
    assert values(read_run(tmp_path), 'val', 'panoptic/PQ') == {10: 1, 20: 2}


def test_mmdet_numbers_all_validations_of_a_training_by_steps_0(tmp_path):
    write_start(tmp_path, '20260101_000000', [
        train(10), train(20), {'coco/bbox_mAP': 0.1, 'time': 1.0, 'step': 0}, train(30),
        train(40), {'coco/bbox_mAP': 0.2, 'time': 1.0, 'step': 0}])
    assert values(read_run(tmp_path), 'val', 'coco/bbox_mAP') == {20: 0.1, 40: 0.2}


def test_names_with_the_phase_in_front(tmp_path):
    """log_processor.log_with_hierarchy."""
    write_start(tmp_path, '20260101_000000', [
        {'train/loss': 1.0, 'train/time': 2.0, 'iter': 10, 'step': 10},
        {'val/panoptic/PQ': 7.0, 'val/time': 1.0, 'step': 10}])
    run = read_run(tmp_path)
    assert values(run) == {10: 1} and values(run, 'val', 'panoptic/PQ') == {10: 7}


def test_values_of_hooks_belong_to_the_training(tmp_path):
    write_start(tmp_path, '20260101_000000', [
        {'grad_norm/backbone': 3.0, 'step': 5}, train(10)])
    run = read_run(tmp_path)
    assert values(run, name='grad_norm/backbone') == {5: 3} and not run.val


def test_damaged_lines(tmp_path):
    write_start(tmp_path, '20260101_000000', [
        train(10, 1), '{"loss": 3, "st\n', '[1, 2]\n', '\x00\x00\x00\n', train(20, 2),
        '{"loss": 9, "iter": 30, "ste'])
    run = read_run(tmp_path)
    assert values(run) == {10: 1, 20: 2}
    assert run.notes == ['2 damaged lines left out']  # the last one is being written


def test_losses_that_are_not_finite(tmp_path):
    write_start(tmp_path, '20260101_000000', [
        train(10, 1), train(20, math.nan), train(30, None), train(40, math.inf), train(50, 2)])
    run = read_run(tmp_path)
    assert run.train['loss'].steps.tolist() == [10, 20, 30, 40, 50]
    assert np.isnan(run.train['loss'].values[1:4]).all()
    assert run.notes == ['loss is not finite at 3 of 5 logged steps, first at step 20']


@pytest.mark.parametrize('place', ['20260101_000000', '20260101_000000/vis_data',
                                   '20260101_000000/vis_data/scalars.json'])
def test_a_start_alone(tmp_path, place):
    write_start(tmp_path, '20260101_000000', [train(10)])
    write_start(tmp_path, '20260102_000000', [train(20)])
    assert values(read_run(tmp_path / place)) == {10: 1}


def test_the_timed_file_alone(tmp_path):
    write_start(tmp_path, '20260101_000000', [train(10)])
    folder = tmp_path / '20260101_000000/vis_data'
    (folder / 'scalars.json').rename(folder / '20260101_000000.json')
    (folder / 'class_scores.json').write_text(json.dumps(classes(10, [1.5, None])))
    run = read_run(tmp_path)
    assert values(run) == {10: 1}
    assert run.classes[0].pq[0, 0] == 1.5 and np.isnan(run.classes[0].pq[0, 1])


def test_folders_without_a_log(tmp_path):
    with pytest.raises(UsageError, match='absent does not exist: give the work dir'):
        find_logs(tmp_path / 'absent')
    (tmp_path / '20260101_000000/vis_data').mkdir(parents=True)  # of a test
    (tmp_path / '20260101_000000/vis_data/config.py').write_text('')
    with pytest.raises(UsageError, match=r"has no \{time\}/vis_data/scalars.json.*LocalVisBackend"):
        find_logs(tmp_path)


def test_classes_that_changed_are_left_out(tmp_path):
    write_start(tmp_path, '20260101_000000', [train(10)], class_records=[
        classes(10, [1, 2], ('a', 'b')), classes(20, [3, 4]), dict(step=30, prefix='panoptic')])
    history, = read_run(tmp_path).classes
    assert history.classes == ('ball', 'sky') and history.steps.tolist() == [20]
