"""Fixtures of the tests of ``mmpanseg report``."""
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from mmpanseg.cli.app import main
from mmpanseg.report.records import read_records, read_summary

from .made_sets import write_set


@pytest.fixture(scope='session')
def made_set(tmp_path_factory) -> Path:
    """Folder of a set with predictions; not to be changed."""
    folder = tmp_path_factory.mktemp('report') / 'set'
    write_set(folder)
    return folder


@pytest.fixture
def own_set(tmp_path) -> Path:
    """The same, for tests that damage it."""
    write_set(tmp_path / 'set')
    return tmp_path / 'set'


@pytest.fixture
def report(monkeypatch, tmp_path):
    """Runs ``mmpanseg report ARGUMENTS``: status, out, err, and the files of the report."""
    monkeypatch.setenv('MMPANSEG_CACHE', str(tmp_path / 'cache'))
    monkeypatch.chdir(tmp_path)

    def run(*arguments, out='out', status=0):
        arguments = [*map(str, arguments), *(['--out', str(out)] if out else [])]
        done = CliRunner().invoke(main, ['report', *arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, (done.stdout, done.stderr)
        made = SimpleNamespace(status=status, out=done.stdout, err=done.stderr)
        folder = tmp_path / (out or '')
        if status == 0 or (folder / 'index.html').is_file():
            made.folder, made.summary = folder, read_summary(folder)
            made.records = list(read_records(folder))
        return made
    return run
