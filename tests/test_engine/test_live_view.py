"""The view of a run: numbers of a given state, as text of different widths."""
import io
import math
import re

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from mmpanseg.engine.live_state import (
    Message,
    RunState,
    Score,
    Trend,
    key_metric,
    loss_direction,
    next_validation,
    validations_left,
)
from mmpanseg.engine.live_view import (
    RunView,
    duration,
    image_line,
    shorten_path,
    sparkline,
    step_line,
    validation_line,
)


def lines_of(state: RunState, width: int, encoding: str = 'utf-8', messages: bool = True
             ) -> list[str]:
    """Lines of the view on a console of a width, without colors."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding)
    Console(file=file, width=width, color_system=None).print(RunView(state, messages))
    file.flush()
    return raw.getvalue().decode(encoding).splitlines()


def row(lines: list[str], label: str) -> str:
    """Text of the row with a label."""
    found, = (line[12:].rstrip() for line in lines if line[:12].rstrip() == label)
    return found


@pytest.fixture
def state() -> RunState:
    """A training after 1234 of 2000 steps."""
    state = RunState(
        name='mask2former_r18_1xb4-scratch-demo_scenes-panoptic', device='CPU, 1 x 2 threads',
        phase='running', step=1234, total=2000, elapsed=3723, left=468.4, step_time=0.612,
        data_time=0.0306, rates=dict(lr=5.123e-4), loss=12.34567,
        terms={'d0.loss_cls': 0.5, 'loss_mask': 2.25, 'loss_dice': 1.125}, memory=3 << 29,
        metric='panoptic/PQ',
        scores=[Score(500, 12.0), Score(1000, 31.254), Score(1200, 28.0)],
        further={'panoptic/SQ': 70.0, 'panoptic/RQ': 40.5}, next_validation=1500,
        checkpoint='work_dirs/demo/iter_1200.pth', best_checkpoint='work_dirs/demo/best.pth',
        log='work_dirs/demo/20260102_030405/20260102_030405.log')
    for step in range(1234):
        state.trend.add(40 * math.exp(-step / 400))
    state.messages.append(Message('03:04:05', 'WARNING', 'the disk\nis nearly full'))
    return state


@pytest.mark.parametrize('width', [80, 120])
def test_numbers(state, width):
    lines = lines_of(state, width)
    assert lines[0].startswith(state.name) and lines[0].endswith('train · CPU, 1 x 2 threads')
    assert len(lines[0]) == len(lines[1]) == width
    assert re.fullmatch(r'1234/2000 ━+─+ 61.7 %', row(lines, 'step'))
    assert row(lines, 'time') == '0.612 s/step · 0:07:48 left · 1:02:03 elapsed · data 5 %'
    assert row(lines, 'loss').startswith('12.3457 ')
    assert row(lines, 'terms') == 'loss_mask 2.2500 · loss_dice 1.1250 · d0.loss_cls 0.5000'
    assert row(lines, 'lr') == '5.123e-04'
    assert row(lines, 'memory') == '1.50 GiB (process)'
    assert row(lines, 'PQ') == '28.00 at 1200 · best 31.25 at 1000  ▁█▇'
    assert row(lines, '') == 'SQ 70.00 · RQ 40.50'
    assert row(lines, 'validation') == 'next at step 1500'
    assert row(lines, 'checkpoint') == 'work_dirs/demo/iter_1200.pth'
    assert row(lines, 'best') == 'work_dirs/demo/best.pth'
    assert row(lines, 'log') == 'work_dirs/demo/20260102_030405/20260102_030405.log'
    assert lines[-1] == '03:04:05 the disk is nearly full'
    assert not any('disk' in line for line in lines_of(state, width, messages=False))


def test_share_of_the_bar(state):
    """Of 60 characters of a bar, 61.7 % are full."""
    bar = row(lines_of(state, 120), 'step')
    assert bar.count('━') == 37 and bar.count('━') + bar.count('─') == 60


@pytest.mark.parametrize('phase', ['starting', 'running', 'validating', 'scoring'])
def test_every_width(state, phase):
    """One line per row that fits, whose number does not depend on the width."""
    state.phase, state.images, state.all_images, state.images_per_second = phase, 7, 5000, 3.5
    state.terms = {f'd{k}.loss_mask': 3.0 + k for k in range(10)}
    heights = set()
    for width in range(60, 201):
        lines = lines_of(state, width)
        assert max(map(cell_len, lines)) <= width
        heights.add(len(lines))
        if phase != 'starting':
            assert '1234/2000' in row(lines, 'step') and row(lines, 'step').endswith('61.7 %')
            assert row(lines, 'time').startswith('0.612 s/step · 0:07:48 left')
            assert row(lines, 'loss').startswith('12.3457')
            assert row(lines, 'terms').startswith('d9.loss_mask 12.0000 · d8.loss_mask 11.0000')
            assert row(lines, 'PQ').startswith('28.00 at 1200 · best 31.25 at 1000')
    assert len(heights) == 1


def test_narrow_terminal(state):
    for width in (1, 5, 13, 30):
        assert max(map(cell_len, lines_of(state, width))) <= width


def test_validation(state):
    state.phase, state.images, state.all_images, state.images_per_second = 'validating', 25, 100, 9
    lines = lines_of(state, 100)
    assert 'train · validating · CPU' in lines[0]
    assert re.fullmatch(r'25/100 images ━+─+ 25.0 % · 9.00 images/s', row(lines, 'validation'))
    state.phase = 'scoring'
    assert row(lines_of(state, 100), 'validation').endswith('25.0 % · scores')


def test_epochs(state):
    state.epochs, state.epoch, state.next_validation = 20, 12, 13
    lines = lines_of(state, 100)
    assert row(lines, 'step').startswith('1234/2000 · epoch 13/20 ━')
    assert row(lines, 'validation') == 'next at epoch 13'
    state.epoch = 20
    assert row(lines_of(state, 100), 'step').startswith('1234/2000 · epoch 20/20 ━')


def test_gpu_memory(state):
    state.on_gpu, state.memory_limit = True, 80 << 30
    assert row(lines_of(state, 80), 'memory') == '1.50 GiB of 80.0 GiB (GPU, peak)'


def test_first_picture():
    """Nothing is known yet."""
    lines = lines_of(RunState(name='x', phase='running', total=10, next_validation=5), 80)
    for label in ('loss', 'terms', 'lr', 'memory', 'score'):
        assert row(lines, label) == '-'
    assert row(lines, 'time') == '- s/step · -:--:-- left · 0:00:00 elapsed'


def test_test():
    state = RunState(name='x', kind='test', phase='running', images=30, all_images=120,
                     images_per_second=12.5, left=7.2, elapsed=2.4)
    lines = lines_of(state, 80)
    assert re.fullmatch('30/120 ━+─+ 25.0 %', row(lines, 'images'))
    assert row(lines, 'time') == '12.5 images/s · 0:00:07 left · 0:00:02 elapsed'
    assert image_line(state) == 'image 30/120  12.5 images/s  eta 0:00:07'


def test_terminal_of_ascii(state):
    text = '\n'.join(lines_of(state, 80, 'ascii'))
    assert text.isascii() and '?' not in text
    assert row(text.splitlines(), 'PQ') == '28.00 at 1200 | best 31.25 at 1000  _#*'


def test_lines(state):
    assert step_line(state) == (
        'step 1234/2000  loss 12.3457  lr 5.123e-04  0.612 s/step  eta 0:07:48')
    assert validation_line(state, 12.4) == (
        'validation at step 1234  panoptic/PQ 28.00  best 31.25 at 1000  0 images in 0:00:12')
    state.epochs, state.epoch = 20, 12
    assert step_line(state).startswith('step 1234/2000  epoch 13/20  loss')
    state.metric = 'x' * 200
    assert len(validation_line(state, 1)) == 120


def test_trend():
    """Averages of equal parts of a long series; the values are those of a direct computation."""
    values = 5 + np.sin(np.arange(8192) / 700)
    trend = Trend()
    for value in values:
        trend.add(value)
    assert len(trend.means(1000)) < 130
    np.testing.assert_allclose(trend.means(16), values.reshape(16, 512).mean(1))
    trend.add(9.0)
    assert trend.means(1000)[-1] == 9.0
    trend = Trend()
    for value in values:
        trend.add(value)
    weights = (1 - 1 / 250) ** np.arange(4000)
    np.testing.assert_allclose(
        trend.smoothed, (weights * values[::-1][:4000]).sum() / weights.sum(), rtol=1e-5)


def test_short_trend():
    trend = Trend()
    assert trend.means(10) == [] and trend.smoothed is None
    for value in (3, math.nan, math.inf, 5):
        trend.add(value)
    assert trend.means(10) == [3, 5] and trend.smoothed == 4


@pytest.mark.parametrize(('loss', 'smoothed', 'direction'), [
    (9.8, 10, -1), (9.95, 10, 0), (10.2, 10, 1), (-1.1, -1, -1), (None, 10, 0), (10, None, 0),
    (math.nan, 10, 0)])
def test_direction(state, loss, smoothed, direction):
    assert loss_direction(loss, smoothed) == direction
    state.loss, state.trend.smoothed = loss, smoothed
    arrow = {-1: '↓', 0: '→', 1: '↑'}[direction]
    assert loss is None or arrow in row(lines_of(state, 80), 'loss')


def test_falling_loss_has_a_falling_arrow():
    """From the end of the first window on: the average of the log against the smoothed one."""
    values = [40 * math.exp(-step / 300) + 5 for step in range(1000)]
    trend = Trend()
    for step, value in enumerate(values, 1):
        trend.add(value)
        if step > 60:
            assert loss_direction(sum(values[step - 50:step]) / 50, trend.smoothed) == -1


def test_sparkline():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == '▁▂▃▄▅▆▇█'
    assert sparkline([3, 3]) == '▅▅' and sparkline([]) == ''
    assert sparkline([0, math.nan, 1]) == '▁ █'


@pytest.mark.parametrize(('names', 'preferred', 'expected'), [
    (['panoptic/PQ', 'panoptic/SQ'], [], 'panoptic/PQ'),
    (['instance/AP', 'semantic/mIoU'], [], 'semantic/mIoU'),
    (['instance/AP50', 'instance/AP'], [], 'instance/AP'),
    (['panoptic/PQ', 'instance/AP'], ['instance/AP'], 'instance/AP'),
    (['panoptic/PQ'], ['auto'], 'panoptic/PQ'), (['own/score'], [], 'own/score'), ([], [], '')])
def test_key_metric(names, preferred, expected):
    assert key_metric(names, preferred) == expected


def test_best_of_a_loss_is_the_smallest():
    scores = [Score(1, 3.0), Score(2, 1.0), Score(3, math.nan), Score(4, 1.0)]
    assert RunState(metric='loss', scores=scores).best == Score(2, 1.0)
    assert RunState(metric='PQ', scores=scores).best == Score(1, 3.0)
    assert RunState(metric='PQ', scores=[Score(1, math.nan)]).best is None


def test_validations_that_remain():
    """Against the conditions of mmengine's loops, step by step."""
    for total, interval, begin in [(10, 3, 1), (9, 3, 1), (10, 4, 6), (5, 10, 1), (5, 1, 9)]:
        due = [step for step in range(1, total + 1)
               if step >= begin and (step % interval == 0 or step == total)]
        for done in range(total + 1):
            left = [step for step in due if step > done]
            assert validations_left(done, total, interval, begin) == len(left)
            assert next_validation(done, total, interval, begin) == (left[0] if left else None)


def test_texts():
    assert duration(93784) == '1 day, 2:03:04' and duration(math.nan) == duration(None)
    assert shorten_path('a/b/c/iter_1.pth', 14) == '…/c/iter_1.pth'
    assert shorten_path('a' * 20, 10) == '…' + 'a' * 9
