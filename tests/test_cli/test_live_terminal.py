"""The verbs train and test in a pseudo terminal, whose screen an emulator keeps."""
import json
import re
import sys

import pytest

pytest.importorskip('pyte', reason='the emulator pyte is not installed')
from ..terminal import Terminal

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(sys.platform == 'win32', reason='needs pseudo terminals')]
OPTIONS = ['--cfg-options', 'default_hooks.checkpoint.interval=10', 'param_scheduler.end=100']


@pytest.fixture
def terminal(tmp_path, repo_root):
    """Starts ``mmpanseg ARGUMENTS`` in a terminal."""
    started = []

    def start(*arguments, width=120, height=40):
        started.append(Terminal(
            [sys.executable, '-m', 'mmpanseg', *map(str, arguments)], tmp_path, width, height,
            PYTHONPATH=str(repo_root), MMPANSEG_CACHE=str(tmp_path / 'cache'), OMP_NUM_THREADS='1',
            CUDA_VISIBLE_DEVICES=''))
        return started[-1]
    yield start
    for process in started:
        process.close()


def steps_of(text: str) -> list[int]:
    return [int(step) for step in re.findall(r'^step +(\d+)/', text, re.M)]


def check_one_picture(shown: Terminal, width: int) -> None:
    """The screen has one view, from its top to its end, and no line of the log."""
    assert sum(line.startswith('loss  ') for line in shown.lines) == 1, shown.text
    assert '─' * (width - 2) in shown.lines, shown.text
    assert 'Iter(' not in shown.text and 'Iter(' not in ''.join(shown.history)


def test_training(terminal, tiny_config, tmp_path):
    """In place, over a resize of the window, up to the last step."""
    shown = terminal('train', tiny_config, '--work-dir', 'run', *OPTIONS,
                     'train_cfg.max_iters=40', 'train_cfg.val_interval=20')
    shown.wait_for(lambda text: max(steps_of(text), default=0) > 1)
    check_one_picture(shown, 120)
    assert shown.screen.cursor.hidden
    shown.resize(75, 30)
    step, = steps_of(shown.wait_for(
        lambda text: '─' * 73 in text and '─' * 74 not in text and steps_of(text)))
    shown.wait_for(lambda text: steps_of(text)[0] > step)
    check_one_picture(shown, 75)
    assert shown.wait() == 0
    check_one_picture(shown, 75)
    assert steps_of(shown.text) == [40] and shown.lines[0].startswith('tiny ')
    assert not shown.screen.cursor.hidden and shown.screen.cursor.x == 0
    path, = tmp_path.glob('run/*/vis_data/scalars.json')
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    loss = [entry['loss'] for entry in entries if 'loss' in entry][-1]
    scores = [entry['panoptic/PQ'] for entry in entries if 'panoptic/PQ' in entry]
    assert re.search(rf'^loss        {loss:.4f} ', shown.text, re.M)
    assert re.search(rf'^PQ          {scores[-1]:.2f} at 40 · best {max(scores):.2f} at ',
                     shown.text, re.M)
    assert re.search(r'^checkpoint  run/iter_40.pth$', shown.text, re.M)
    log, = tmp_path.glob('run/*/*.log')
    assert 'Iter(train) [40/40]' in log.read_text()


def test_ctrl_c(terminal, tiny_config):
    """The training ends after its step; what was said before remains readable."""
    shown = terminal('train', tiny_config, '--work-dir', 'run', *OPTIONS,
                     'train_cfg.max_iters=100000')
    shown.wait_for(lambda text: max(steps_of(text), default=0) > 1)
    shown.press_ctrl_c()
    assert shown.wait() == 130
    check_one_picture(shown, 120)
    step, = steps_of(shown.text)
    assert 'train · stopped' in shown.lines[0] and not shown.screen.cursor.hidden
    text = ' '.join(shown.lines)
    assert f'SIGINT: the training stopped after step {step}, --resume continues it from' in text
    assert f'run/iter_{step}.pth' in text and 'Traceback' not in text


def test_second_ctrl_c(terminal, tiny_config):
    """It ends at once, and the cursor is back."""
    shown = terminal('train', tiny_config, '--work-dir', 'run', *OPTIONS,
                     'train_cfg.max_iters=100000')
    shown.wait_for(lambda text: max(steps_of(text), default=0) > 1)
    shown.press_ctrl_c()
    shown.press_ctrl_c()
    assert shown.wait() == 130
    assert not shown.screen.cursor.hidden


def test_mistake(terminal, tiny_config):
    """Found while the model is built: nothing but its line is left."""
    shown = terminal('train', tiny_config, '--cfg-options', 'model.type=mmpanseg.MaskTransfomer')
    assert shown.wait() == 1
    assert shown.text.startswith('mmpanseg train: error: ') and 'Traceback' not in shown.text
    assert 'mmpanseg.MaskTransfomer' in shown.text and not shown.screen.cursor.hidden


def test_two_processes(terminal, tiny_config, tmp_path):
    """One view for both; then the test of its checkpoint, whose table is that of the log."""
    shown = terminal('train', tiny_config, '--work-dir', 'run', '--gpus', 2, *OPTIONS,
                     'train_cfg.max_iters=10', 'train_cfg.val_interval=10')
    assert shown.wait() == 0
    check_one_picture(shown, 120)
    assert steps_of(shown.text) == [10] and 'CPU, 2 x 1 threads' in shown.lines[0]
    shown = terminal('test', tiny_config, 'run/iter_10.pth', '--work-dir', 'test')
    assert shown.wait() == 0
    assert re.search(r'^images +6/6 ━+ 100.0 %$', shown.text, re.M)
    log, = tmp_path.glob('test/*/*.log')
    table = [line for line in log.read_text().splitlines() if line.startswith(('|', '+'))]
    assert len(table) > 8 and shown.text.splitlines()[-len(table):] == table


def test_mistake_of_two_processes(terminal, tiny_config):
    shown = terminal('train', tiny_config, '--gpus', 2, '--resume', 'absent.pth')
    assert shown.wait() == 1
    assert shown.text == 'mmpanseg train: error: checkpoint absent.pth does not exist'
