"""The training that tools/train.py and ``mmpanseg train`` share."""
from mmengine.config import Config
from mmengine.runner import Runner

from mmpanseg.engine.command_line import user_mistakes
from mmpanseg.engine.hooks.non_finite_hook import use_anomaly_detection
from mmpanseg.engine.launch import build_runner, set_resume, use_amp, use_auto_scale_lr


def build_training(cfg: Config, launcher: str = 'none', *, resume: str | None = None,
                   amp: bool = False, auto_scale_lr: bool = False,
                   detect_anomaly: bool = False, data_check: bool = True) -> Runner:
    """Build the runner of a training.

    Args:
        cfg: config of a whole run with its work dir; changed in place.
        launcher: see :func:`mmpanseg.engine.set_launcher`.
        resume: see :func:`mmpanseg.engine.set_resume`.
        amp: train in mixed precision, see :func:`mmpanseg.engine.use_amp`.
        auto_scale_lr: see :func:`mmpanseg.engine.use_auto_scale_lr`.
        detect_anomaly: search for the operation that makes NaN.
        data_check: check the data before the first step, see
            :class:`mmpanseg.engine.hooks.DataCheckHook`.

    Returns:
        The runner; its ``train`` starts.

    Raises:
        UsageError: an option does not fit the config, or the config cannot be built.
    """
    set_resume(cfg, resume)
    if amp:
        use_amp(cfg)
    if auto_scale_lr:
        use_auto_scale_lr(cfg)
    if detect_anomaly:
        use_anomaly_detection(cfg)
    if not data_check:
        hooks = dict(cfg.get('default_hooks') or {})
        hooks['data_check'] = dict(type='mmpanseg.DataCheckHook', enabled=False)
        cfg.default_hooks = hooks
    with user_mistakes():
        return build_runner(cfg, launcher)
