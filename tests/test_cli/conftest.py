"""Fixtures of the command's tests."""
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import mmpanseg.cli.verbs
from mmpanseg.cli.app import main


@pytest.fixture
def mmpanseg_command(monkeypatch, tmp_path):
    """Runs ``mmpanseg ARGUMENTS`` in this process: status, stdout, stderr."""
    monkeypatch.setenv('MMPANSEG_CACHE', str(tmp_path / 'cache'))

    def run(*arguments, **options):
        done = CliRunner().invoke(main, [str(argument) for argument in arguments], **options)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return SimpleNamespace(status=done.exit_code, out=done.stdout, err=done.stderr)
    return run


@pytest.fixture
def add_verb(monkeypatch, tmp_path):
    """Adds a verb: ``add_verb('paint', body)`` writes paint.py, whose function has that body."""
    folder = tmp_path / 'verbs'
    folder.mkdir()
    monkeypatch.setattr(mmpanseg.cli.verbs, '__path__',
                        [*mmpanseg.cli.verbs.__path__, str(folder)])

    def add(name, body, decorators='', arguments='', options=''):
        module = f'mmpanseg.cli.verbs.{name}'
        # the import system forgets the module after the test
        monkeypatch.setitem(sys.modules, module, None)
        del sys.modules[module]
        (folder / f'{name}.py').write_text(
            'import click\nfrom mmpanseg.cli import options, screen\n'
            'from mmpanseg.cli.verb import Verb\n'
            f'@click.command(cls=Verb{options})\n{decorators}\ndef command({arguments}):\n'
            '    """Paint a picture."""\n    ' + body.replace('\n', '\n    ') + '\n')
        return Path(folder / f'{name}.py')
    return add
