"""The view of a run: from its numbers to the text of a screen, without a terminal or a runner."""
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import PurePath

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from mmpanseg.engine.live_state import RunState, Score, loss_direction

SHORT_LINE = 120
_LABEL = 12
_BLOCKS, _PLAIN_BLOCKS = '▁▂▃▄▅▆▇█', '_.-~=+*#'
_ARROWS, _PLAIN_ARROWS = '→↑↓', '=^v'
_LEVELS = dict(NOTE='yellow', WARNING='yellow', ERROR='red', CRITICAL='red')
_DOT = ' · '


class RunView:
    """Rich renderable of a run: one row per topic, each of them one line.

    Args:
        state: the numbers.
        messages: also show the last warnings and errors.
    """

    def __init__(self, state: RunState, messages: bool = True) -> None:
        self.state, self.messages = state, messages

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for row in _Rows(self.state, options.max_width, options.ascii_only).rows(self.messages):
            row.no_wrap, row.overflow = True, 'crop'
            row.truncate(options.max_width, overflow='ellipsis')
            yield row


class _Rows:
    """Rows of a view of a certain width."""

    def __init__(self, state: RunState, width: int, plain: bool) -> None:
        self.state, self.width, self.plain = state, width, plain
        self.dot = ' | ' if plain else _DOT
        self.room = max(width - _LABEL, 1)

    def rows(self, messages: bool) -> Iterator[Text]:
        state = self.state
        yield self._title()
        yield self._rule()
        if state.phase == 'starting':
            yield self._row('', 'the config is read, model and data are built')
        elif state.kind == 'train':
            yield from self._training()
        else:
            yield from self._test()
        if state.log:
            yield self._row('log', shorten_path(state.log, self.room))
        if messages and state.messages:
            yield self._rule()
            for message in list(state.messages):
                row = Text(f'{message.clock} ', style='dim')
                row.append(' '.join(message.text.split()), _LEVELS.get(message.level, ''))
                yield row

    def _training(self) -> Iterator[Text]:
        state = self.state
        count = f'{state.step}/{state.total}'
        if state.epochs:
            count += f'{self.dot}epoch {min(state.epoch + 1, state.epochs)}/{state.epochs}'
        yield self._progress('step', count, state.step, state.total)
        yield self._row('time', self._fit([
            step_time(state), f'{duration(state.left)} left',
            f'{duration(state.elapsed)} elapsed', _data_share(state)]))
        yield self._loss()
        terms = sorted(state.terms.items(), key=lambda item: -abs(item[1]))
        yield self._row('terms', self._fit(
            [f'{name} {number(value)}' for name, value in terms] or ['-']), 'dim')
        yield self._row('lr', self._fit([
            f'{rate:.3e}' if name == 'lr' else f'{name} {rate:.3e}'
            for name, rate in state.rates.items()] or ['-']))
        yield self._memory()
        if state.metric or state.next_validation is not None:
            yield self._scores()
            if state.further:
                yield self._row('', self._fit([f'{short_name(name)} {value:.2f}' for name, value
                                               in state.further.items()]), 'dim')
            yield self._validation()
        if state.checkpoint:
            yield self._row('checkpoint', shorten_path(state.checkpoint, self.room))
        if state.best_checkpoint:
            yield self._row('best', shorten_path(state.best_checkpoint, self.room))

    def _test(self) -> Iterator[Text]:
        state = self.state
        yield self._progress('images', f'{state.images}/{state.all_images}', state.images,
                             state.all_images)
        yield self._row('time', self._fit([
            f'{rate(state.images_per_second)} images/s', f'{duration(state.left)} left',
            f'{duration(state.elapsed)} elapsed']))
        yield self._memory()

    def _title(self) -> Text:
        state = self.state
        right = self.dot.join(part for part in (
            state.kind, '' if state.phase == 'running' else state.phase, state.device) if part)
        gap = max(self.width - len(state.name) - len(right), 2)
        name = state.name
        if len(name) + len(right) + 2 > self.width:
            name = shorten(name, max(self.width - len(right) - 2, 8))
            gap = max(self.width - len(name) - len(right), 2)
        return Text.assemble((name, 'bold'), ' ' * gap, (right, 'cyan'))

    def _rule(self) -> Text:
        return Text(('-' if self.plain else '─') * self.width, style='dim')

    def _row(self, label: str, value: str | Text, style: str = '') -> Text:
        return Text.assemble((f'{label:<{_LABEL}}', 'cyan'),
                             value if isinstance(value, Text) else (value, style))

    def _fit(self, parts: Sequence[str], room: int | None = None) -> str:
        """Join as many parts as fit, at least the first one."""
        room = self.room if room is None else room
        text = ''
        for part in filter(None, parts):
            longer = f'{text}{self.dot}{part}' if text else part
            if text and len(longer) > room:
                break
            text = longer
        return text

    def _progress(self, label: str, count: str, done: int, total: int, end: str = '') -> Text:
        share = min(done / total, 1.0) if total else 0.0
        # 99.9 % until all is done
        percent = f'{math.floor(share * 1000) / 10:.1f} %'
        end = f' {percent}' + (f'{self.dot}{end}' if end else '')
        cells = min(self.room - len(count) - len(end) - 1, 60)
        row = Text(count)
        if cells >= 5:
            full = math.floor(share * cells)
            bar, rest = ('#', '.') if self.plain else ('━', '─')
            row.append(' ')
            row.append(bar * full, 'green')
            row.append(rest * (cells - full), 'dim')
        row.append(end)
        return self._row(label, row)

    def _loss(self) -> Text:
        state = self.state
        if state.loss is None:
            return self._row('loss', '-')
        smoothed = state.trend.smoothed
        direction = loss_direction(state.loss, smoothed)
        arrow = (_PLAIN_ARROWS if self.plain else _ARROWS)[direction]
        row = Text(f'{number(state.loss)} ')
        row.append(arrow, {-1: 'green', 0: '', 1: 'yellow'}[direction])
        if smoothed is not None:
            row.append(f' smoothed {number(smoothed)}')
        return self._row('loss', self._with_line(row, state.trend.means(self._cells(row))))

    def _scores(self) -> Text:
        state = self.state
        label = short_name(state.metric) if state.metric else 'score'
        if not state.scores:
            return self._row(label[:_LABEL - 1], '-')
        last, best = state.scores[-1], state.best
        parts = [f'{last.value:.2f} {_at(last)}']
        if best is not None:
            parts.append(f'best {best.value:.2f} {_at(best)}')
        row = Text(self._fit(parts))
        values = [score.value for score in state.scores][-self._cells(row):]
        return self._row(label[:_LABEL - 1], self._with_line(row, values))

    def _cells(self, row: Text) -> int:
        """Characters for a line of values behind a text."""
        return max(min(self.room - row.cell_len - 2, 60), 1)

    def _with_line(self, row: Text, values: Sequence[float]) -> Text:
        if self.room - row.cell_len - 2 >= 4:
            row.append('  ')
            row.append(sparkline(values, self.plain), 'blue')
        return row

    def _validation(self) -> Text:
        state = self.state
        if state.phase in ('validating', 'scoring'):
            end = 'scores' if state.phase == 'scoring' else (
                f'{rate(state.images_per_second)} images/s')
            return self._progress('validation', f'{state.images}/{state.all_images} images',
                                  state.images, state.all_images, end)
        if state.next_validation is None:
            return self._row('validation', 'none left')
        unit = 'epoch' if state.epochs else 'step'
        return self._row('validation', f'next at {unit} {state.next_validation}')

    def _memory(self) -> Text:
        state = self.state
        if not state.memory:
            return self._row('memory', '-')
        text = f'{state.memory / 2 ** 30:.2f} GiB'
        if state.memory_limit:
            text += f' of {state.memory_limit / 2 ** 30:.1f} GiB'
        return self._row('memory', f'{text} ({"GPU, peak" if state.on_gpu else "process"})')


def sparkline(values: Sequence[float], plain: bool = False) -> str:
    """Draw values as characters of different heights; those that are not finite are blank.

    Args:
        values: from left to right.
        plain: use ASCII only.
    """
    blocks = _PLAIN_BLOCKS if plain else _BLOCKS
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ' ' * len(values)
    low, high = min(finite), max(finite)
    step = (high - low) / (len(blocks) - 1)
    return ''.join(
        ' ' if not math.isfinite(value) else
        blocks[round((value - low) / step)] if step else blocks[len(blocks) // 2]
        for value in values)


def step_line(state: RunState) -> str:
    """Describe a step of a training in one line for a log that is no terminal."""
    epoch = f'  epoch {min(state.epoch + 1, state.epochs)}/{state.epochs}' if state.epochs else ''
    lr = _rate(state.rates)
    return (f'step {state.step}/{state.total}{epoch}  loss {number(state.loss)}  lr {lr}  '
            f'{step_time(state)}  eta {duration(state.left)}')[:SHORT_LINE]


def validation_line(state: RunState, seconds: float) -> str:
    """Describe the last validation in one line.

    Args:
        state: the numbers.
        seconds: that it took.
    """
    text = f'validation at step {state.step}'
    if state.scores:
        text += f'  {state.metric} {state.scores[-1].value:.2f}'
    if state.best is not None:
        text += f'  best {state.best.value:.2f} {_at(state.best)}'
    return f'{text}  {state.all_images} images in {duration(seconds)}'[:SHORT_LINE]


def image_line(state: RunState) -> str:
    """Describe the progress of a test in one line."""
    return (f'image {state.images}/{state.all_images}  {rate(state.images_per_second)} images/s  '
            f'eta {duration(state.left)}')[:SHORT_LINE]


def number(value: float | None) -> str:
    """Format a loss with four decimals as the log file does; large ones shorter."""
    if value is None:
        return '-'
    return f'{value:.4f}' if abs(value) < 1e6 else f'{value:.3e}'


def rate(value: float | None) -> str:
    """Format a number of images a second."""
    return '-' if value is None else f'{value:.1f}' if value >= 10 else f'{value:.2f}'


def duration(seconds: float | None) -> str:
    """Format seconds as 1:02:03 or 2 days, 1:02:03."""
    if seconds is None or not math.isfinite(seconds):
        return '-:--:--'
    return str(timedelta(seconds=round(seconds)))


def step_time(state: RunState) -> str:
    """Format the seconds a step."""
    return '- s/step' if state.step_time is None else f'{state.step_time:.3f} s/step'


def short_name(key: str) -> str:
    """Return the name of a score without that of its metric: panoptic/PQ is PQ."""
    return key.rpartition('/')[2]


def shorten(text: str, width: int) -> str:
    """Cut the end of a text that is too long."""
    return text if len(text) <= width else text[:width - 1] + '…'


def shorten_path(path: str, width: int) -> str:
    """Leave out the first folders of a path that is too long."""
    if len(path) <= width:
        return path
    parts = PurePath(path).parts
    for start in range(1, len(parts)):
        text = '/'.join(('…', *parts[start:]))
        if len(text) <= width:
            return text
    return '…' + path[1 - width:]


def _at(score: Score) -> str:
    return 'before the resume' if score.step is None else f'at {score.step}'


def _data_share(state: RunState) -> str:
    if not state.step_time or state.data_time is None:
        return ''
    return f'data {100 * state.data_time / state.step_time:.0f} %'


def _rate(rates: Mapping[str, float]) -> str:
    return next((f'{value:.3e}' for value in rates.values()), '-')
