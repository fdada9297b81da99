"""A whole run of the doctor: equal for any number of processes, complete, in order."""
import sys
from pathlib import Path

import pytest

from mmpanseg.doctor import Source, run_doctor

from ..planted_mistakes import MAX_PIXELS, plant_all
from ..terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def planted(tmp_path_factory):
    """Sources of a set with many mistakes."""
    return plant_all(tmp_path_factory.mktemp('planted'), 'panoptic')[0].sources()


def content(report):
    return dict(report.as_dict(), seconds=0)


def test_two_processes_find_what_one_finds(planted):
    seen = []
    alone = run_doctor(planted, max_pixels=MAX_PIXELS, workers=0,
                       progress=lambda done, total: seen.append((done, total)))
    assert content(run_doctor(planted, max_pixels=MAX_PIXELS, workers=2)) == content(alone)
    total = seen[0][1]
    assert seen == [(done, total) for done in range(1, total + 1)] and total > 50


def test_worst_problems_come_first(planted):
    report = run_doctor(planted, fast=True)
    keys = [(-problem.severity, problem.check) for problem in report.problems]
    assert keys == sorted(keys)
    assert report.counts['error'] > 10 and report.counts['warning'] and report.counts['note']
    assert report.exit_status() == 1


def test_sources_that_do_not_exist_are_problems(tmp_path):
    report = run_doctor([Source('train', kind, f'{tmp_path}/a.json', f'{tmp_path}/i',
                                f'{tmp_path}/m', classes=('a', 'b'))
                         for kind in ('panoptic', 'instance', 'semantic')])
    assert {problem.check for problem in report.problems} == {'PAN001', 'PAN035', 'PAN043'}
    assert report.exit_status() == 1


@pytest.mark.slow
def test_ctrl_c_ends_all_processes(tmp_path, planted):
    """With three times the images, in a terminal: status 130, and no text of an error."""
    files = [source.ann_file for source in planted]
    folders = [word for source in planted for word in ('--images', source.img_prefix, '--maps',
                                                       source.seg_prefix)]
    terminal = Terminal([sys.executable, '-m', 'mmpanseg', 'doctor', *files * 3, *folders * 3,
                         '--workers', 2], tmp_path, PYTHONPATH=str(ROOT),
                        MMPANSEG_CACHE=str(tmp_path))
    try:
        terminal.wait_for(lambda text: 'images ' in text)
        terminal.press_ctrl_c()
        assert terminal.wait(60) == 130
        assert 'Traceback' not in terminal.text and 'rror' not in terminal.text
    finally:
        terminal.close()
