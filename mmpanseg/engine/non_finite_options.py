"""Options of a command line on numbers that are not finite."""
from mmengine.config import Config

_HOOK = 'NonFiniteHook'


def use_anomaly_detection(cfg: Config) -> None:
    """Let the run's :class:`NonFiniteHook` search for the module that makes NaN.

    Args:
        cfg: config of a whole run; changed in place. Other options of the hook stay.
    """
    hooks = [dict(hook) for hook in cfg.get('custom_hooks') or []]
    found = [hook for hook in hooks if str(hook.get('type')).split('.')[-1] == _HOOK]
    if not found:
        found = [dict(type=f'mmpanseg.{_HOOK}')]
        hooks += found
    found[0]['detect_anomaly'] = True
    cfg.custom_hooks = hooks
