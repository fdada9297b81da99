"""Logs the scores by class of each validation."""
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import TensorboardVisBackend, WandbVisBackend

from mmpanseg.engine.command_line import one_line
from mmpanseg.evaluation.class_scores import CLASS_SCORES_FILE, ClassScores
from mmpanseg.registry import HOOKS
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import append_line


@HOOKS.register_module()
class ClassScoresHook(Hook):
    """Writes the table of classes to the backends of the visualizer, and beside ``scalars.json``.

    The file ``class_scores.json`` gets one line for each validation, from which ``mmpanseg curves``
    draws PQ by class over time. TensorBoard gets the table as text, Weights & Biases as
    ``wandb.Table``. A disk that is full ends no training. Part of every run of
    :class:`mmpanseg.engine.runner.PanopticRunner`; a config names it to set the argument.

    Args:
        curves: also give TensorBoard and Weights & Biases one curve for each class.
    """

    def __init__(self, curves: bool = False) -> None:
        self.curves = curves
        self._warned = False

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the tables of all metrics that have one."""
        for metric in runner.val_evaluator.metrics:
            scores = getattr(metric, 'class_scores', None)
            if scores is not None:
                try:
                    self._write(runner, scores)
                except OSError as error:
                    self._warn(runner, error)

    def _write(self, runner: Runner, scores: ClassScores) -> None:
        # asking a runner for its step would build the loop of a training
        step = 0 if isinstance(runner._train_loop, (dict, type(None))) else runner.iter
        record = strict_json.dumps(scores.record(step), ensure_ascii=False)
        append_line(Path(runner.log_dir, 'vis_data', CLASS_SCORES_FILE), record)
        for backend in runner.visualizer._vis_backends.values():
            if isinstance(backend, TensorboardVisBackend):
                backend.experiment.add_text(
                    f'{scores.prefix}/classes', markdown_table(scores), step)
            elif isinstance(backend, WandbVisBackend):
                wandb = backend.experiment
                wandb.log({f'{scores.prefix}/classes': wandb.Table(
                    columns=list(scores.HEAD), data=scores.rows()), 'iter': step})
            else:
                continue
            if self.curves:
                backend.add_scalars({
                    f'{scores.prefix}_PQ_by_class/{row[0]}': row[2] for row in scores.rows()
                    if row[2] is not None}, step=step)

    def _warn(self, runner: Runner, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            runner.logger.warning(f'the scores by class are not logged ({one_line(error)}): the '
                                  'training goes on')


def markdown_table(scores: ClassScores) -> str:
    """Write the table of classes as Markdown."""
    def line(cells: Any) -> str:
        return '| ' + ' | '.join(map(str, cells)) + ' |'

    rows = [[str(cell).replace('|', '\\|') if isinstance(cell, str)
             else '-' if cell is None else f'{cell:.2f}' if isinstance(cell, float) else cell
             for cell in row] for row in scores.rows()]
    return '\n'.join([line(scores.HEAD), line(['---', '---', *['---:'] * 6]), *map(line, rows)])
