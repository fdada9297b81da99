"""``mmpanseg env``: versions, operators and devices, for bug reports."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from mmpanseg.cli.screen import console, quiet_start
from mmpanseg.cli.verb import SECTIONS, Verb
from mmpanseg.utils import strict_json


@click.command(cls=Verb, section=SECTIONS[-1], examples=['mmpanseg env'],
               short_help='Show versions, compiled operators and devices, for bug reports.')
@click.option('--json', 'as_json', is_flag=True, help='Write JSON.')
def command(as_json: bool) -> None:
    """Show versions of packages, compiled operators, GPUs, CPU and system.

    A bug report with this text can be answered.
    """
    with quiet_start('env'):
        from mmpanseg.engine.environment import describe_environment

        facts = describe_environment()
        if as_json:
            console().print(strict_json.dumps(facts, indent=2), markup=False)
            return
        width = max(len(name) for name, _ in rows(facts))
        for name, value in rows(facts):
            console().print(f'{name:{width}}  {value}', markup=False)


def rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Describe each fact in a line.

    Args:
        facts: of :func:`mmpanseg.engine.environment.describe_environment`.

    Yields:
        name and value.
    """
    for name, version in facts['versions'].items():
        yield name, version or 'not installed'
    operators = facts['mmcv']
    yield 'mmcv operators', 'no' if not operators['operators'] else (
        'yes, CPU and CUDA' if operators['cuda_operators'] else 'yes, CPU only')
    if not facts['gpus']:
        yield 'GPU', 'none'
    for index, gpu in enumerate(facts['gpus']):
        yield f'GPU {index}', (f'{gpu["name"]}, {gpu["memory_gb"]} GiB, capability '
                               f'{gpu["capability"]}, bf16 {_yes(gpu["bf16"])}')
    cpu = facts['cpu']
    memory = 'unknown' if cpu['memory_gb'] is None else f'{cpu["memory_gb"]} GiB'
    yield 'CPU', (f'{cpu["name"]}, {cpu["cores"]} cores, {cpu["threads"]} threads in torch, '
                  f'fast bf16 {_yes(cpu["fast_bf16"])}')
    yield 'memory', memory
    yield 'system', facts['system']
    for name, value in facts['build'].items():
        yield name, value or 'none'


def _yes(value: bool) -> str:
    return 'yes' if value else 'no'
