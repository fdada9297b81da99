"""Draws the curves of trainings: reads the logs, writes pictures, page and numbers."""
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmpanseg.curves.charts import chart_runs, make_charts
from mmpanseg.curves.curves_page import write_curves_page
from mmpanseg.curves.names import run_names
from mmpanseg.curves.picture import write_classes, write_curves
from mmpanseg.curves.run_log import RunLog, read_run
from mmpanseg.curves.tables import write_csv, write_json
from mmpanseg.engine.command_line import UsageError
from mmpanseg.pages.own_folder import OwnFiles, open_folder
from mmpanseg.structures.result_file_names import result_names

_OWN_FILES = OwnFiles('curves', 'curves.json', [
    re.compile(r'index\.html|(curves|classes)\.png|curves\.csv')])
AXES = ('step', 'epoch', 'time')


@dataclass(frozen=True)
class CurveOptions:
    """How curves are drawn.

    Args:
        out: folder to write; None: ``curves/{name of the run}``.
        names: of the runs, in their order; empty: parts of their paths.
        smoothing: weight of the past in exponential averages, 0 .. below 1; None: by the length
            of the longest log, 0 below 50 lines, 0.6 below 500, else 0.9.
        log: logarithmic axes of losses and gradient norms.
        axis: one of :data:`AXES`.
    """

    out: Path | None = None
    names: tuple[str, ...] = ()
    smoothing: float | None = None
    log: bool = False
    axis: str = 'step'


@dataclass
class Drawn:
    """What was written.

    Attributes:
        folder: of the files.
        files: their names, the page first.
        runs: what was read.
        left_out: why a work dir is not among them, one sentence each.
    """

    folder: Path
    files: list[str]
    runs: list[RunLog]
    left_out: list[str] = field(default_factory=list)


def draw_curves(sources: Sequence[str | Path], options: CurveOptions = CurveOptions()) -> Drawn:
    """Draw the curves of one or several trainings, also of those that still run.

    Args:
        sources: work dirs, see :func:`mmpanseg.curves.log_files.find_logs`.
        options: see :class:`CurveOptions`.

    Raises:
        UsageError: there is no log, nothing is logged yet, or a log has no epochs for that axis.
        FileWriteError: a file cannot be written.
    """
    distinct = list(dict.fromkeys(Path(source).resolve() for source in sources))
    given = [next(Path(source) for source in sources if Path(source).resolve() == path)
             for path in distinct]
    if options.names and len(options.names) != len(given):
        raise UsageError(f'{len(options.names)} names for {len(given)} work dirs: give one name '
                         'for each')
    if len(set(options.names)) < len(options.names):
        raise UsageError('two runs have the same name: give distinct names')
    runs, left_out = [], []
    for run, name in zip(map(read_run, given), options.names or run_names(given)):
        run.name = name
        if run.is_empty:
            left_out.append(f'{run.path}: nothing is logged yet')
        else:
            runs.append(run)
    if not runs:
        raise UsageError(f'{left_out[0]}; wait for the first line of the log '
                         '(default_hooks.logger.interval steps)')
    _check_axis(runs, options.axis)
    drawn = Drawn(options.out or Path('curves', _folder_name(runs)), [], runs, left_out)
    _write(drawn, options)
    return drawn


def _check_axis(runs: Sequence[RunLog], axis: str) -> None:
    for run in runs:
        if axis == 'epoch' and run.epoch_length is None:
            raise UsageError(f'{run.path} is a training by steps, whose log has no epochs: use '
                             '--x step or --x time')
        if axis == 'time' and 'time' not in run.train:
            raise UsageError(f'{run.path} has no times in its log: use --x step')


def _folder_name(runs: Sequence[RunLog]) -> str:
    name = next(iter(result_names([runs[0].name.replace('/', '_') + '.log']).values()))
    return name if len(runs) == 1 else f'{name}-and-{len(runs) - 1}-more'


def _write(drawn: Drawn, options: CurveOptions) -> None:
    folder, runs = drawn.folder, drawn.runs
    open_folder(folder, _OWN_FILES)
    write_json(folder / _OWN_FILES.record, runs)
    described, charts = chart_runs(runs), make_charts(runs)
    smoothing = options.smoothing
    if smoothing is None:
        length = max((len(series.steps) for run in runs for series in run.train.values()),
                     default=0)
        smoothing = 0.0 if length < 50 else 0.6 if length < 500 else 0.9
    title = runs[0].name if len(runs) == 1 else f'{len(runs)} runs'
    write_curves(folder / 'curves.png', title, charts, described, options.axis,
                 smoothing, options.log)
    pictures = ['curves.png']
    if any(run.classes for run in runs):
        write_classes(folder / 'classes.png', f'PQ by class: {title}', runs)
        pictures.append('classes.png')
    write_csv(folder / 'curves.csv', runs, described)
    numbers = [_OWN_FILES.record, 'curves.csv']
    write_curves_page(folder / 'index.html', title, runs, charts, described, pictures + numbers,
                      options.axis, smoothing, options.log)
    drawn.files = ['index.html', *pictures, *numbers]
