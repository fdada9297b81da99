"""Options that several verbs share; they mean what those of the tools mean."""
import os
from typing import Any

import click

from mmpanseg.engine.command_line import UsageError


def _parse_overrides(ctx: click.Context, parameter: click.Parameter,
                     values: tuple[str, ...]) -> dict[str, Any] | None:
    """Convert KEY=VALUE texts as mmengine's ``DictAction`` does; None without any."""
    for value in values:
        if '=' not in value:
            raise click.BadParameter('write KEY=VALUE, without spaces around =', ctx, parameter)
    if not values:
        return None
    from argparse import ArgumentParser

    from mmengine.config import DictAction

    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    try:
        return parser.parse_args(['--cfg-options', *values]).cfg_options
    except ValueError as error:
        raise UsageError(f'--cfg-options {" ".join(values)}: {error}') from error


def _trust(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        os.environ['MMPANSEG_TRUST_CHECKPOINT'] = '1'  # loading_policy.TRUST_VARIABLE


# The verb receives ``cfg_options``: dict or None.
cfg_options = click.option(
    '--cfg-options', multiple=True, metavar='KEY=VALUE...', callback=_parse_overrides,
    help='Override entries of the config, e.g. model.test_cfg.mode=tile.')

# Sets an environment variable, which processes of this one inherit; the verb receives nothing.
trust_checkpoint = click.option(
    '--trust-checkpoint', is_flag=True, expose_value=False, callback=_trust,
    help='Also load a file of weights that contains code, and run its code.')

# The verb receives ``strict_meta``: bool.
strict_meta = click.option(
    '--strict-meta', is_flag=True,
    help='Refuse a checkpoint that was trained with other classes, normalization, channels, '
    'padding or test size than the config has; without it, warn.')

# The verb receives ``device``: str or None.
device = click.option(
    '--device', metavar='NAME', help='cpu, cuda or cuda:1.  [default: a GPU if there is one]')

# The verb receives ``offline``: bool.
offline = click.option(
    '--offline', is_flag=True, help='Use the copies in the cache folder, no network.')
