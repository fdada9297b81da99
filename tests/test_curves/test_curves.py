"""mmpanseg curves: the files that it writes, of hand-written logs and of a real training."""
import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mmpanseg.cli.app import main
from mmpanseg.curves.run import CurveOptions, draw_curves
from mmpanseg.engine.command_line import UsageError

from .logs import classes, train, val, write_start


def curves(*arguments):
    return CliRunner().invoke(main, ['curves', *map(str, arguments)], prog_name='mmpanseg',
                              standalone_mode=True)


@pytest.fixture
def pictures():
    """Requested by tests that look at the pictures: drawing takes most of the time."""


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """Empty files in place of pictures."""
    if 'pictures' not in request.fixturenames:
        for name in ('write_curves', 'write_classes'):
            monkeypatch.setattr(f'mmpanseg.curves.run.{name}',
                                lambda path, *rest, **options: path.write_bytes(b''))


@pytest.fixture
def two(tmp_path):
    for name, factor in (('one', 1), ('two', 2)):
        write_start(tmp_path / name, '20260101_000000', [
            *(train(k, 100 * factor / k) for k in (10, 20, 30)), val(30, 10.0 * factor),
            *(train(k, 100 * factor / k) for k in (40, 50, 60)), val(60, 20.0 * factor)],
            class_records=[classes(30, [10.0 * factor, None]), classes(60, [12.5 * factor, 31])])
    return tmp_path


def test_files_of_two_runs(two, pictures):
    done = curves(two / 'one', two / 'two', '--out', two / 'out')
    assert done.exit_code == 0, done.output
    assert done.output.startswith('one to step 60, two to step 60 -> ')
    content = json.loads((two / 'out/curves.json').read_text())
    first, second = content['runs']
    assert [first['name'], second['name']] == ['one', 'two']
    assert first['train']['loss'] == dict(
        steps=[10, 20, 30, 40, 50, 60], values=[100 / k for k in range(10, 61, 10)])
    assert second['val']['panoptic/PQ'] == dict(steps=[30, 60], values=[20, 40])
    assert second['classes'] == [dict(
        prefix='panoptic', classes=['ball', 'sky'], things=[True, False], steps=[30, 60],
        pq=[[20, None], [25, 31]])]
    with open(two / 'out/curves.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    losses = [row for row in rows if row['run'] == 'two' and row['name'] == 'loss']
    assert [float(row['value']) for row in losses] == [200 / k for k in range(10, 61, 10)]
    assert float(losses[-1]['hours']) == pytest.approx(120 / 3600, abs=1e-6)
    assert losses[0]['epoch'] == '' and losses[0]['kind'] == 'train'
    sky = [row['value'] for row in rows if row['name'] == 'panoptic/PQ/sky']
    assert sky == ['', '31.0', '', '31.0']
    for name in ('curves.png', 'classes.png'):
        picture = cv2.imread(str(two / 'out' / name))
        assert picture is not None and min(picture.shape[:2]) > 200
        assert (picture != 255).any()


def test_the_heat_map_has_the_last_score_of_each_class(two):
    draw_curves([two / 'two'], CurveOptions(two / 'out'))
    page = (two / 'out/index.html').read_text()
    rows = re.findall(r'<tr><th scope="row">(\w+)</th>(.*?)</tr>', page)
    assert [name for name, _ in rows] == ['sky', 'ball']  # the best one first
    assert re.findall(r'>([^<>]+)</td>', rows[1][1]) == ['thing', '25.00', '+5.00', '20', '25']
    assert re.findall(r'>([^<>]*)</td>', rows[0][1]) == ['stuff', '31.00', '', '', '31']


def test_the_page_needs_nothing_else(two):
    name = '<img src=x onerror=alert(1)>'
    draw_curves([two / 'one', two / 'two'], CurveOptions(two / 'out', names=(name, 'b')))
    page = (two / 'out/index.html').read_text()
    assert name not in page and '&lt;img src=x' in page
    # the name space of SVG is no request
    assert set(re.findall(r'https?://[^"\'` ]+', page)) <= {'http://www.w3.org/2000/svg'}
    links = re.findall(r'href="([^"]+)"', page)
    assert links == ['curves.png', 'classes.png', 'curves.json', 'curves.csv']
    assert all((two / 'out' / link).is_file() for link in links)


def test_while_a_training_runs(two):
    """The last line is incomplete, and the next call has what was added meanwhile."""
    log = two / 'one/20260101_000000/vis_data/scalars.json'
    log.write_text(log.read_text() + '{"loss": 1.5, "it')
    before = log.read_bytes()
    done = draw_curves([two / 'one'], CurveOptions(two / 'out'))
    assert done.runs[0].last_step == 60 and not done.runs[0].notes
    assert log.read_bytes() == before
    log.write_text(log.read_text() + 'er": 70, "step": 70, "time": 2.0}\n')
    assert draw_curves([two / 'one'], CurveOptions(two / 'out')).runs[0].last_step == 70


def test_runs_without_a_line_are_left_out(two):
    write_start(two / 'empty', '20260101_000000', [])
    done = curves(two / 'one', two / 'empty', '--out', two / 'out')
    assert done.exit_code == 0 and 'empty: nothing is logged yet' in done.output
    done = curves(two / 'empty')
    assert done.exit_code == 1
    assert 'error:' in done.output and 'wait for the first line of the log' in done.output


def test_notes_are_on_the_screen_and_on_the_page(two):
    log = two / 'one/20260101_000000/vis_data/scalars.json'
    log.write_text(log.read_text() + '{"loss": NaN, "iter": 70, "step": 70}\n')
    done = curves(two / 'one', '--out', two / 'out')
    note = 'loss is not finite at 1 of 7 logged steps, first at step 70'
    assert note in done.output and note in (two / 'out/index.html').read_text()
    assert json.loads((two / 'out/curves.json').read_text(), parse_constant=None)[
        'runs'][0]['train']['loss']['values'][-1] is None


def test_a_folder_of_others_is_left_as_it_is(two):
    (two / 'out').mkdir()
    (two / 'out/notes.txt').write_text('mine')
    done = curves(two / 'one', '--out', two / 'out')
    assert done.exit_code == 1 and 'notes.txt' in done.output
    assert [path.name for path in (two / 'out').iterdir()] == ['notes.txt']


def test_files_of_an_earlier_call_are_replaced(two):
    draw_curves([two / 'one'], CurveOptions(two / 'out'))
    (two / 'one/20260101_000000/vis_data/class_scores.json').unlink()
    done = draw_curves([two / 'one'], CurveOptions(two / 'out'))
    assert sorted(path.name for path in (two / 'out').iterdir()) == sorted(done.files)
    assert 'classes.png' not in done.files


@pytest.mark.parametrize(('options', 'text'), [
    (['absent'], 'absent does not exist'),
    (['one', '--name', 'a', 'b'], '2 names for 1 work dirs'),
    (['one', 'two', '--name', 'a', 'a'], 'two runs have the same name'),
    (['one', '--x', 'epoch'], 'training by steps.*--x step or --x time')])
def test_mistakes(two, monkeypatch, options, text):
    monkeypatch.chdir(two)
    done = curves(*options)
    assert done.exit_code == 1 and re.search(text, done.output), done.output
    assert not Path('curves').exists()


def test_a_log_without_times(tmp_path):
    write_start(tmp_path, '20260101_000000', [dict(loss=1.0, iter=10, step=10)])
    with pytest.raises(UsageError, match='no times in its log'):
        draw_curves([tmp_path], CurveOptions(tmp_path / 'out', axis='time'))
    draw_curves([tmp_path], CurveOptions(tmp_path / 'out'))


def test_smoothing_must_be_below_1(two):
    assert curves(two / 'one', '--smooth', 1).exit_code == 2


def test_the_same_folder_twice_is_one_run(two, monkeypatch):
    monkeypatch.chdir(two)
    done = curves('one', two / 'one')
    assert done.exit_code == 0 and done.output.startswith('one to step 60 -> curves/one/')
    assert curves('one', 'two').output.rstrip().count('curves/one-and-1-more/index.html') == 1


@pytest.mark.parametrize(('axis', 'log'), [('epoch', True), ('time', False)])
def test_pictures_of_other_axes(tmp_path, pictures, axis, log):
    write_start(tmp_path, '20260101_000000', [
        train(k, loss, epoch=k // 21 + 1) for k, loss in ((10, 5.0), (20, 0.0), (30, -1.0))])
    draw_curves([tmp_path], CurveOptions(tmp_path / 'out', axis=axis, log=log, smoothing=0.5))
    assert np.ptp(cv2.imread(str(tmp_path / 'out/curves.png'))) > 100


@pytest.mark.slow
def test_one_value_and_many_classes(tmp_path, pictures):
    names = [f'class {k}' for k in range(90)]
    write_start(tmp_path, '20260101_000000', [train(10), val(10, 1.0)], class_records=[
        classes(10, [k for k in range(90)], names) | dict(things=[True] * 90)])
    draw_curves([tmp_path], CurveOptions(tmp_path / 'out'))
    assert cv2.imread(str(tmp_path / 'out/classes.png')).shape[0] > 90 * 20


@pytest.fixture(scope='module')
def trained(tiny_config, tmp_path_factory):
    """A training of four steps that was stopped after two and resumed, each with a validation."""
    from mmpanseg.engine import build_runner, load_config

    work_dir = tmp_path_factory.mktemp('trained')
    runners = []
    for steps in (2, 4):
        cfg = load_config(str(tiny_config), {
            'train_cfg.max_iters': steps, 'train_cfg.val_interval': 2,
            'default_hooks.logger.interval': 1})
        cfg.work_dir, cfg.experiment_name = str(work_dir), f'{work_dir.name}{steps}'
        cfg.randomness, cfg.resume = dict(seed=0), steps > 2
        runner = build_runner(cfg, 'none')
        runner.train()
        runners.append(runner)
        # the second one may start in the same second
        Path(runner.log_dir, f'{runner.timestamp}.log').rename(
            Path(runner.log_dir, f'2026010{steps}_000000.log'))
        Path(runner.log_dir).rename(work_dir / f'2026010{steps}_000000')
    return work_dir, runners


def test_a_real_training(trained, tmp_path):
    work_dir, runners = trained
    done = draw_curves([work_dir], CurveOptions(tmp_path / 'out'))
    run, = done.runs
    assert run.train['loss'].steps.tolist() == [1, 2, 3, 4] and not run.notes
    history = runners[1].message_hub.log_scalars
    # the hub of a resumed run has the losses of all steps, the log averages of a window
    losses = history['train/loss'].data[0]
    assert run.train['loss'].values[-1] == pytest.approx(np.mean(losses[-50:]), rel=1e-5)
    assert run.val['panoptic/PQ'].steps.tolist() == [2, 4]
    classes, = run.classes
    assert classes.steps.tolist() == [2, 4] and classes.classes == ('ball', 'sky', 'ground')
    assert classes.things == (True, False, False)
    # PQ is the average over the classes that occur
    np.testing.assert_allclose(np.nanmean(classes.pq, axis=1), run.val['panoptic/PQ'].values,
                               atol=1e-3)
    assert done.files == ['index.html', 'curves.png', 'classes.png', 'curves.json', 'curves.csv']
