"""The screen of trainings and tests in this process: its numbers are those of the run's files."""
import io
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from rich.console import Console

from mmpanseg.engine.command_line import UsageError
from mmpanseg.engine.hooks.live_view_hook import LiveViewHook
from mmpanseg.engine.launch import build_runner
from mmpanseg.engine.live_screen import LiveScreen
from mmpanseg.engine.live_state import RunState
from mmpanseg.engine.live_view import RunView
from mmpanseg.engine.stop_signals import TrainingStopped

RUN = dict(train_cfg__max_iters=6, train_cfg__val_interval=3, param_scheduler__end=6,
           default_hooks__checkpoint__interval=3,
           default_hooks__checkpoint__save_best='panoptic/PQ')


class Pictures(Hook):
    """The view as text after each step and validation."""

    priority = 'LOWEST'

    def __init__(self, screen: LiveScreen) -> None:
        self.screen, self.steps, self.validations = screen, {}, {}

    def _picture(self) -> dict[str, str]:
        self.screen.refresh()
        console = Console(file=io.StringIO(), width=120, color_system=None)
        console.print(RunView(self.screen.state))
        lines = console.file.getvalue().splitlines()
        return {line[:12].rstrip(): line[12:].rstrip() for line in lines}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.steps[runner.iter + 1] = self._picture()

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.validations[runner.iter, batch_idx + 1] = self._picture()


class Speak(Hook):
    """Prints, warns and logs in the second step."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 1:
            print('a print\nof two lines')
            print('half a line', end='')
            print('10 %\r20 %', file=sys.stderr)
            runner.logger.warning('logged [red]as[/] a warning')
            runner.logger.info('only in the log')


class Output(io.StringIO):
    """Text that a console wrote."""

    @property
    def lines(self) -> list[str]:
        """Without the characters that control a terminal."""
        return re.sub(r'\x1b\[[\d;?]*[A-Za-z]', '', self.getvalue()).splitlines()


@pytest.fixture
def screen():
    """Creates a screen and its output: a terminal, or a file."""
    def create(terminal: bool, kind: str = 'train', width: int = 120):
        output = Output()
        console = Console(file=output, width=width, height=40, force_terminal=terminal,
                          highlight=False, legacy_windows=False,
                          _environ=dict(TERM='xterm-256color'))
        return LiveScreen(RunState(name='tiny', kind=kind), console=console), output
    return create


@pytest.fixture
def trained(tiny_run, screen):
    """Trains with a screen: runner, screen, pictures, output."""
    def train(terminal: bool, *hooks: Hook, **options):
        view, output = screen(terminal)
        pictures = Pictures(view)
        with view:
            runner = tiny_run(**{**RUN, **options})
            for hook in (LiveViewHook(view), pictures, *hooks):
                runner.register_hook(hook)
            runner.train()
        return runner, view, pictures, output
    return train


def scalars(runner) -> tuple[dict[int, dict], dict[int, dict]]:
    """Entries of scalars.json by step: of the training, and of validations."""
    text = (Path(runner.log_dir) / 'vis_data/scalars.json').read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    return ({entry['step']: entry for entry in entries if 'loss' in entry},
            {entry['step']: entry for entry in entries if 'panoptic/PQ' in entry})


def test_numbers_of_the_view_are_those_of_the_log(trained, log_of, monkeypatch):
    """What is printed goes to the log; warnings are shown in the view, and once more at its end."""
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    runner, view, pictures, output = trained(True, Speak())
    training, validations = scalars(runner)
    assert list(training) == list(pictures.steps) == [1, 2, 3, 4, 5, 6]
    for step, entry in training.items():
        picture = pictures.steps[step]
        assert picture['step'].startswith(f'{step}/6 ')
        assert picture['loss'].startswith(f'{entry["loss"]:.4f} ')
        assert picture['lr'] == f'{entry["lr"]:.3e}'
        share = 100 * entry['data_time'] / entry['time']
        assert picture['time'].startswith(f'{entry["time"]:.3f} s/step')
        assert picture['time'].endswith(f' data {share:.0f} %')
        terms = sorted(((value, name) for name, value in entry.items() if 'loss_' in name),
                       reverse=True)
        expected = ' · '.join(f'{name} {value:.4f}' for value, name in terms)
        assert expected.startswith(picture['terms']) and len(picture['terms']) > 80
    assert list(validations) == [3, 6]
    (first, last), best = (entry['panoptic/PQ'] for entry in validations.values()), 6
    if first >= last:
        best = 3
    assert pictures.steps[4]['PQ'].startswith(f'{first:.2f} at 3 · best {first:.2f} at 3')
    final = '\n'.join(output.lines[-20:])
    assert f'PQ          {last:.2f} at 6 · best {max(first, last):.2f} at {best}  ' in final
    assert f'SQ {validations[6]["panoptic/SQ"]:.2f} · RQ' in final
    assert 'step        6/6 ━' in final and ' 100.0 %' in final and 'train · finished' in final
    assert 'checkpoint  ' in final and 'log         ' in final
    assert f'best_panoptic_PQ_iter_{best}.pth' in final
    for images in range(1, 7):
        assert pictures.validations[3, images]['validation'].startswith(f'{images}/6 images ━')
    assert 'warning: logged [red]as[/] a warning' in output.lines[-1]
    assert any('logged [red]as[/]' in ''.join(row) for row in pictures.steps[3].items())
    log = log_of(runner)
    for text in ('Iter(train) [6/6]', '| ball', 'System environment', 'INFO - a print',
                 'INFO - of two lines', 'WARNING - 20 %', 'WARNING - logged [red]as[/] a warning',
                 'only in the log'):
        assert text in log
    for text in ('Iter(train)', '| ball', 'a print', 'only in the log'):
        assert text not in output.getvalue()
    assert max(map(len, output.lines)) <= 120


def test_remaining_time(trained, monkeypatch):
    """Steps of one second and validations of ten: the clock of the test stands still between."""
    clock = [100.0]

    class Tick(Hook):
        priority = 'VERY_HIGH'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            clock[0] += 1

        def before_val_epoch(self, runner):
            clock[0] += 10

    monkeypatch.setattr('mmpanseg.engine.hooks.live_view_hook.time.monotonic', lambda: clock[0])
    _, _, pictures, _ = trained(True, Tick(), default_hooks__checkpoint__save_best=None)
    left = {step: re.search(r'(\S+) left', picture['time'])[1]
            for step, picture in pictures.steps.items()}
    # three steps before the first validation, of which nothing is known; then one of 10 s is left
    assert left == {1: '-:--:--', 2: '0:00:04', 3: '0:00:03', 4: '0:00:12', 5: '0:00:11',
                    6: '0:00:10'}
    assert '0:00:16 elapsed' in pictures.steps[6]['time']


def test_epochs(trained):
    runner, view, pictures, _ = trained(
        True, train_cfg=dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=2,
                             val_interval=1),
        train_dataloader__sampler=dict(type='DefaultSampler', shuffle=True))
    assert [pictures.steps[step]['step'].split(' ━')[0].split(' ─')[0] for step in range(1, 7)] == [
        f'{step}/6 · epoch {epoch}/2' for step, epoch in zip(range(1, 7), (1, 1, 1, 2, 2, 2))]
    assert [score.step for score in view.state.scores] == [3, 6]
    assert pictures.steps[1]['validation'] == 'next at epoch 1'
    assert pictures.steps[4]['validation'] == 'next at epoch 2'


def test_file_instead_of_a_terminal(trained, capsys):
    """Short lines: one per interval of the log and one per validation."""
    runner, _, _, output = trained(False, Speak(), default_hooks__logger__interval=2)
    training, validations = scalars(runner)
    lines = output.getvalue().splitlines()
    assert '\x1b' not in output.getvalue() and max(map(len, lines)) <= 120
    steps = [line for line in lines if line.startswith('step ')]
    assert len(steps) == len(training) == 3
    for line, (step, entry) in zip(steps, training.items()):
        assert line.startswith(f'step {step}/6  loss {entry["loss"]:.4f}  lr {entry["lr"]:.3e}  '
                               f'{entry["time"]:.3f} s/step  eta 0:00:0')
    scores = [line for line in lines if line.startswith('validation ')]
    assert len(scores) == len(validations) == 2
    for line, (step, entry) in zip(scores, validations.items()):
        assert line.startswith(f'validation at step {step}  panoptic/PQ {entry["panoptic/PQ"]:.2f}')
        assert '  6 images in 0:00:0' in line
    assert lines[0] == 'training tiny: steps 1 to 6' and lines[1].startswith('log: ')
    assert lines[-1].endswith('iter_6.pth')
    assert len(lines) == 8
    out, err = capsys.readouterr()
    assert out == '' and err.count('warning: logged [red]as[/] a warning\n') == 1


def test_output_is_restored(trained, screen):
    """After an error of the run, whose picture stays, and one before the first step, without."""
    class Fail(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter == 2:
                raise ZeroDivisionError

    streams = sys.stdout, sys.stderr
    with pytest.raises(ZeroDivisionError):
        trained(True, Fail())
    assert (sys.stdout, sys.stderr) == streams
    view, output = screen(True)
    with pytest.raises(UsageError), view:
        raise UsageError('no such file')
    assert (sys.stdout, sys.stderr) == streams
    assert output.getvalue().endswith('\x1b[1A\x1b[2K')  # nothing is left of the picture
    assert output.getvalue().count('\x1b[?25l') == output.getvalue().count('\x1b[?25h') == 1


@pytest.mark.skipif(sys.platform == 'win32', reason='signals')
def test_interruption(tiny_run, screen, in_child):
    """Its message names the checkpoint; the exit status is that of the signal."""
    class Interrupt(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter == 1:
                os.kill(os.getpid(), signal.SIGINT)

    def train():
        view, output = screen(True)
        try:
            with view:
                runner = tiny_run(**RUN)
                runner.register_hook(LiveViewHook(view))
                runner.register_hook(Interrupt())
                runner.train()
        except TrainingStopped as stop:
            print('\n'.join(output.lines), f'status {stop.code}', sep='\n')
            raise

    status, text = in_child(train)
    assert status == 130 and 'Traceback' not in text and 'status 130' in text
    assert len(re.findall(r'^warning: SIGINT: the training stopped after step 2, --resume '
                          r'continues it from \S+iter_2\.pth$', text, re.M)) == 1
    assert text.count('SIGINT: the training stops after this step') >= 1
    final = text[text.rindex('train · stopped'):]
    assert 'step        2/6 ━' in final and 'checkpoint  ' in final


def test_resume(trained):
    """The scores and losses before are known."""
    trained(True, train_cfg__max_iters=3)
    runner, view, pictures, _ = trained(True, resume=True, train_cfg__max_iters=4)
    training, _ = scalars(runner)
    assert list(pictures.steps) == [4]
    assert len(view.state.trend.means(100)) == 4
    assert [score.step for score in view.state.scores] == [None, 4]
    assert re.match(r'\S+ before the resume · best \S+ before the resume', pictures.steps[4]['PQ'])
    assert pictures.steps[4]['loss'].startswith(f'{training[4]["loss"]:.4f} ')


@pytest.mark.parametrize('terminal', [True, False])
def test_test(tiny_run, screen, terminal, log_of):
    """The bar, then the table of scores, as the log has it."""
    view, output = screen(terminal, 'test')
    with view:
        runner = tiny_run()
        runner.register_hook(LiveViewHook(view))
        runner.test()
    lines = [line.rstrip() for line in output.lines]
    table = [line for line in log_of(runner).splitlines() if line.startswith(('|', '+'))]
    assert len(table) > 8 and lines[-len(table):] == table
    assert lines[-len(table) - 1].endswith('Panoptic quality of 6 images')
    if terminal:
        assert any(re.match(r'images      6/6 ━+ 100.0 %', line) for line in lines)
    else:
        assert [line.split('  ')[0] for line in lines if line.startswith('image ')] == [
            f'image {count}/6' for count in range(1, 7)]


def test_other_processes_show_errors_only(tiny_run, capsys):
    output = Output()
    view = LiveScreen(RunState(), shown=False, console=Console(file=output, force_terminal=True))
    with view:
        runner = tiny_run(train_cfg__max_iters=1)
        runner.register_hook(LiveViewHook(view))
        runner.train()
        runner.logger.error('this is wrong')
    assert output.getvalue() == ''
    assert capsys.readouterr() == ('', 'error: this is wrong\n')


def test_another_runner(tiny_config, screen, tmp_path):
    """That of mmengine, whose logger is connected when it runs."""
    from mmpanseg.engine import load_config

    cfg = load_config(str(tiny_config), {'train_cfg.max_iters': 1, 'runner_type': 'Runner'})
    cfg.work_dir, cfg.experiment_name = str(tmp_path), tmp_path.name
    view, output = screen(False)
    with view:
        runner = build_runner(cfg, 'none')
        runner.register_hook(LiveViewHook(view))
        runner.train()
    assert any(line.startswith('step 1/1  loss ') for line in output.lines)
    assert 'Iter(train)' not in output.getvalue()


def test_new_width(screen):
    """The terminal has wrapped the former picture, so that the screen is cleared."""
    view, output = screen(True)
    with view:
        view.state.phase, view.state.total, view.state.step = 'running', 10, 3
        view.draw(now=True)
        assert '\x1b[2J' not in output.getvalue()
        view._console.width = 70
        view.draw(now=True)
        assert output.getvalue().count('\x1b[2J') == 1
        assert '─' * 68 in output.lines and '─' * 118 in output.lines
        view.draw(now=True)
        assert output.getvalue().count('\x1b[2J') == 1


def test_pictures_are_limited(screen, monkeypatch):
    """At most one in half a second, and at most 2 % of the time is spent on them."""
    clock, count = [0.0], [0]
    view, _ = screen(True)

    def refresh():
        count[0] += 1
        clock[0] += 0.05

    monkeypatch.setattr('mmpanseg.engine.live_screen.time.monotonic', lambda: clock[0])
    with view:
        view.refresh = refresh
        for _ in range(10000):
            clock[0] += 0.01
            view.draw()
        assert count[0] * 0.05 <= 0.02 * clock[0] and count[0] > 30
