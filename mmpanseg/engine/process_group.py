"""The process group of a run on CPUs, and the options of ``env_cfg.dist_cfg``."""
from datetime import timedelta
from typing import Any

from mmengine.config import Config
from torch import distributed

from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.engine.process_errors import connection_problem


def group_options(cfg: Config) -> dict[str, Any]:
    """Read ``env_cfg.dist_cfg`` of a config; empty if it has none."""
    return dict((cfg.get('env_cfg') or {}).get('dist_cfg') or {})


def check_group_options(cfg: Config) -> None:
    """Check ``env_cfg.dist_cfg`` before mmengine or torch reads it.

    Args:
        cfg: config of a run.

    Raises:
        UsageError: the timeout is no number of seconds above 0.
    """
    options = group_options(cfg)
    timeout = options.get('timeout')
    if timeout is not None and (
            isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0):
        raise UsageError(f'env_cfg.dist_cfg.timeout={timeout!r} must be a number of seconds above '
                         '0: the time that a process waits for another one')


def start_group_on_cpu(cfg: Config) -> None:
    """Create the process group of a run on CPUs from torchrun's environment variables.

    Args:
        cfg: config of a run; ``env_cfg.dist_cfg.backend`` 'nccl', which needs GPUs, is replaced by
            'gloo'. ``env_cfg.dist_cfg.timeout`` is in seconds; default: torch's, half an hour.

    Raises:
        UsageError: this build of torch lacks the backend.
    """
    options = group_options(cfg)
    backend = options.get('backend', 'gloo')
    if backend == 'nccl':
        backend = 'gloo'
    timeout = options.get('timeout')
    limits: dict[str, Any] = dict() if timeout is None else dict(timeout=timedelta(seconds=timeout))
    try:
        distributed.init_process_group(
            backend, init_method=options.get('init_method'), **limits)
    except (ValueError, RuntimeError) as error:
        if connection_problem(error):
            raise
        raise UsageError(f"env_cfg.dist_cfg: no process group with backend '{backend}' "
                         f'({one_line(error)})') from error
