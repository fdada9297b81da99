"""The test that tools/test.py and ``mmpanseg test`` share."""
from mmengine.config import Config
from mmengine.runner import Runner

from mmpanseg.apis.config_edits import use_tta
from mmpanseg.engine.command_line import UsageError, user_mistakes
from mmpanseg.engine.launch import build_runner, check_checkpoint
from mmpanseg.engine.runner import DumpResults
from mmpanseg.visualization import NoDisplayError, require_display

_HOOK = 'mmpanseg.PanopticVisualizationHook'


def check_test_outputs(out: str | None, show: bool) -> None:
    """Check where a test shall write and show its predictions.

    Args:
        out: file for the predictions, None for none.
        show: show them in windows.

    Raises:
        UsageError: the file has another ending than .pkl and .pickle, or there is no display.
    """
    if out is not None and not out.endswith(('.pkl', '.pickle')):
        raise UsageError(f'--out {out}: the name must end in .pkl or .pickle')
    if show:
        try:
            require_display()
        except NoDisplayError as error:
            raise UsageError(str(error)) from error


def build_test(cfg: Config, checkpoint: str, config: str, launcher: str = 'none', *,
               out: str | None = None, tta: bool = False, show: bool = False,
               show_dir: str | None = None, wait_time: float = 2) -> Runner:
    """Build the runner of a test.

    Args:
        cfg: config of a whole run with its work dir; changed in place.
        checkpoint: file or URL.
        config: name of the config, for error texts.
        launcher: see :func:`mmpanseg.engine.set_launcher`.
        out: file for the predictions (.pkl), None for none.
        tta: test-time augmentation.
        show: show predictions in windows.
        show_dir: folder for pictures of the predictions, below that of the log.
        wait_time: seconds that each window is open.

    Returns:
        The runner; its ``test`` starts.

    Raises:
        UsageError: the checkpoint is missing or broken, or the config cannot be built.
    """
    cfg.load_from = check_checkpoint(checkpoint, config)
    if show or show_dir:
        _draw_predictions(cfg, show, show_dir, wait_time)
    if tta:
        use_tta(cfg)
    with user_mistakes():
        runner = build_runner(cfg, launcher)
    if out is not None:
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=out))
    return runner


def _draw_predictions(cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
    """Switch on the visualization hook; mmdet's own overwrites pictures of images of one name."""
    hook = cfg.default_hooks.setdefault('visualization', dict(type=_HOOK))
    if hook.type.split('.')[-1] == 'DetVisualizationHook':
        hook.type = _HOOK
    hook.draw = True
    if show:
        hook.update(show=True, wait_time=wait_time)
    if show_dir:
        hook.test_out_dir = show_dir
