"""Fixtures of the tests of ``mmpanseg browse``."""
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from mmengine.config import Config

from mmpanseg.cli.app import main

from .small_sets import dataset_of, write_instances, write_panoptic


@pytest.fixture(scope='session')
def folder(tmp_path_factory) -> Path:
    """Folder of the data sets."""
    path = tmp_path_factory.mktemp('browse')
    write_panoptic(path)
    write_instances(path)
    return path


@pytest.fixture
def config(folder):
    """Makes a config: ``config('semantic')``, or ``config(dataset=...)``."""
    def make(kind='panoptic', pipeline=None, dataset=None, where=None) -> Config:
        chosen = dataset or dataset_of(where or folder, kind, pipeline)
        return Config(dict(train_dataloader=dict(dataset=chosen)))
    return make


@pytest.fixture
def verb(monkeypatch, tmp_path):
    """Runs ``mmpanseg browse ARGUMENTS`` in this process: status, stdout, stderr."""
    monkeypatch.setenv('MMPANSEG_CACHE', str(tmp_path / 'cache'))

    def run(cfg, *arguments):
        path = tmp_path / 'set.py'
        cfg.dump(path)
        done = CliRunner().invoke(main, ['browse', str(path), *map(str, arguments)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return SimpleNamespace(status=done.exit_code, out=done.stdout, err=done.stderr)
    return run
