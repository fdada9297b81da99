"""Shared options mean what those of the tools mean."""
import os
from argparse import ArgumentParser

import pytest

from mmpanseg.engine.command_line import add_config_options

DECORATORS = '@options.cfg_options\n@options.trust_checkpoint\n@options.strict_meta\n' \
    '@options.device\n@options.offline\n@click.argument("source", nargs=-1)'
NAMES = 'cfg_options, strict_meta, device, offline, source'


@pytest.fixture
def show(mmpanseg_command, add_verb):
    """Values that a verb receives from a command line."""
    add_verb('paint', f'print(repr(({NAMES})))', DECORATORS, NAMES)
    return lambda *arguments: mmpanseg_command('paint', *arguments)


def test_defaults(show):
    assert eval(show().out) == (None, False, None, False, ())


@pytest.mark.parametrize('values', [
    ['a.b=1'], ['a=[1,2]', 'b=(0.5,x)'], ['a=true', 'b=none', 'c="x y"'], ['a=x=y']])
def test_overrides_are_those_of_the_tools(show, values):
    parser = ArgumentParser()
    add_config_options(parser)
    expected = parser.parse_args(['--cfg-options', *values]).cfg_options
    # as argparse writes them, and repeated
    assert eval(show('--cfg-options', *values, 'photo.jpg').out)[0] == expected
    repeated = [part for value in values for part in ('--cfg-options', value)]
    assert eval(show(*repeated, '--offline').out)[0] == expected


def test_values_end_where_the_next_argument_begins(show):
    assert eval(show('--cfg-options', 'a=1', 'photo.jpg', 'b=2').out) == (
        {'a': 1}, False, None, False, ('photo.jpg', 'b=2'))
    assert eval(show('--cfg-options', 'a=1', '--strict-meta', 'x=y.jpg').out) == (
        {'a': 1}, True, None, False, ('x=y.jpg', ))
    assert eval(show('--cfg-options', 'a=1', '--', 'x=y.jpg').out)[4] == ('x=y.jpg', )


def test_override_without_value(show):
    done = show('--cfg-options', 'a', '=', '1')
    assert done.status == 2
    assert done.err == ("mmpanseg paint: error: Invalid value for '--cfg-options': write "
                        'KEY=VALUE, without spaces around = (see mmpanseg paint --help)\n')


def test_trust(show, monkeypatch):
    monkeypatch.setenv('MMPANSEG_TRUST_CHECKPOINT', '0')
    assert eval(show('--device', 'cpu').out)[2] == 'cpu'
    assert os.environ['MMPANSEG_TRUST_CHECKPOINT'] == '0'
    show('--trust-checkpoint')
    assert os.environ['MMPANSEG_TRUST_CHECKPOINT'] == '1'
