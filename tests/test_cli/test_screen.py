"""Results, messages and noise reach stdout, stderr and the log file."""
import logging
import os
import sys

import pytest
from mmengine.logging import MMLogger

from mmpanseg.cli.screen import LOGS_KEPT, console, fail, log_folder, quiet_start


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv('MMPANSEG_CACHE', str(tmp_path / 'cache'))


def test_noise_reaches_the_log_alone(capsys):
    logger = MMLogger.get_instance('noise_before')
    stream = logger.handlers[0].stream
    with quiet_start('paint') as log:
        print('a print')
        print('a message', file=sys.stderr)
        logger.info('an old logger')
        MMLogger.get_instance('noise_inside').info('a new logger')
        console().print('a result')
        console(stderr=True).print('progress')
    MMLogger.get_instance('noise_inside').info('after the start')
    assert logger.handlers[0].stream is stream
    print('afterwards')
    assert capsys.readouterr() == ('a result\nafterwards\n', 'progress\n')
    text = log.read_text()
    for part in ('a print', 'a message', 'an old logger', 'a new logger',
                 'after the start'):
        assert part in text
    assert 'a result' not in text and 'progress' not in text
    assert log.parent == log_folder() and log.name.startswith('paint-')


def test_fail_and_errors_inside_reach_the_screen(capsys):
    with pytest.raises(SystemExit) as end, quiet_start():
        fail('no paint')
    assert end.value.code == 1
    assert capsys.readouterr() == ('', 'mmpanseg: error: no paint\n')


def test_nested_starts_share_the_screen(capsys):
    with quiet_start(), quiet_start():
        console().print('a result')
    with quiet_start():
        print('noise')
    assert capsys.readouterr() == ('a result\n', '')


def test_newest_logs_are_kept():
    log_folder().mkdir(parents=True)
    for k in range(LOGS_KEPT + 5):
        path = log_folder() / f'old-{k:02d}.log'
        path.touch()
        os.utime(path, (k, k))
    with quiet_start() as log:
        pass
    names = sorted(path.name for path in log_folder().iterdir())
    assert names == sorted([log.name, *(f'old-{k:02d}.log' for k in range(6, LOGS_KEPT + 5))])


def test_log_without_a_writable_folder(monkeypatch, tmp_path):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('MMPANSEG_CACHE', str(tmp_path / 'file'))
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    with quiet_start() as log:
        print('noise')
    assert log.parent == tmp_path and 'noise' in log.read_text()


def test_other_handlers_are_left_alone(tmp_path):
    handler = logging.FileHandler(tmp_path / 'own.log')
    logging.getLogger('own').addHandler(handler)
    try:
        with quiet_start():
            logging.getLogger('own').warning('kept')
    finally:
        logging.getLogger('own').removeHandler(handler)
    assert (tmp_path / 'own.log').read_text() == 'kept\n'
