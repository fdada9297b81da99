"""Worker processes: order, equal results, deaths, ends."""
import multiprocessing
import os
import signal
import time

import pytest

from mmpanseg.doctor import workers as module
from mmpanseg.doctor.pixels.inspect_image import ImageFindings, ImageStatistics
from mmpanseg.doctor.problem import problem
from mmpanseg.doctor.source import ImageRecord, Options, Source
from mmpanseg.doctor.workers import Task, inspect_all

SOURCES = [Source('train', 'panoptic'), Source('val', 'panoptic')]


def tasks(number):
    return [Task(i % 2, ImageRecord(i, f'{i}.png', f'/none/{i}.png')) for i in range(number)]


def inspect(record, source, options):
    """Finds one problem of an image, sooner for later images of a chunk."""
    time.sleep(0.002 * (3 - record.image_id % 4))
    return ImageFindings(
        [problem('PAN115', f'{options.max_pixels}', split=source.split, file=record.file_name)],
        ImageStatistics(source.split, record.image_id, record.file_name))


@pytest.fixture
def run(monkeypatch):
    """Runs a function of an image in processes, which are forked so that they have it."""
    def run(function, number, workers):
        monkeypatch.setattr(module, 'inspect_image', function)
        return list(inspect_all(tasks(number), SOURCES, Options(9), workers))
    monkeypatch.setattr(module, '_context', lambda: multiprocessing.get_context('fork'))
    yield run
    assert multiprocessing.active_children() == []


def test_any_number_of_workers_finds_the_same_in_the_same_order(run):
    expected = [(task, inspect(task.record, SOURCES[task.source], Options(9)))
                for task in tasks(45)]
    for workers in (0, 1, 3):
        assert run(inspect, 45, workers) == expected


def die(how):
    def dying(record, source, options):
        if record.image_id in (5, 6, 20):
            how()
        return ImageFindings([])
    return dying


@pytest.mark.parametrize(('how', 'text'), [
    (lambda: os.kill(os.getpid(), signal.SIGKILL),
     'the process that checked this image ended (signal 9: Killed)'),
    (lambda: os._exit(3), 'the process that checked this image ended (exit status 3)'),
    (lambda: 1 / 0, 'ZeroDivisionError: division by zero')])
def test_an_image_that_ends_its_process_is_one_problem(run, how, text):
    found = run(die(how), 30, 2)
    assert [task.record.image_id for task, _ in found] == list(range(30))
    assert [(p.check, p.file, p.image_id, p.text) for _, findings in found
            for p in findings.problems] == [
                ('PAN499', f'{i}.png', i, text) for i in (5, 6, 20)]


def test_processes_end_when_the_caller_stops(run, monkeypatch):
    monkeypatch.setattr(module, 'inspect_image', inspect)
    results = inspect_all(tasks(100), SOURCES, Options(), 2)
    next(results)
    assert len(multiprocessing.active_children()) == 2
    results.close()


def test_results_that_wait_for_a_slow_image_are_limited(run, monkeypatch):
    def slow_first(record, source, options):
        if record.image_id == 0:
            time.sleep(0.5)
        return ImageFindings([])

    taken = []
    monkeypatch.setattr(module, 'inspect_image', slow_first)
    monkeypatch.setattr(module, '_AHEAD', 2)
    every = (taken.append(task) or task for task in tasks(1000))
    results = inspect_all(every, SOURCES, Options(), 2)
    next(results)
    assert len(taken) <= 7 * 8
    assert sum(1 for _ in results) == 999


@pytest.mark.slow
def test_processes_may_be_spawned(monkeypatch):
    """The real inspection, of files that do not exist."""
    monkeypatch.setattr(module, '_context', lambda: multiprocessing.get_context('spawn'))
    found = list(inspect_all(tasks(10), SOURCES, Options(), 1))
    assert found == list(inspect_all(tasks(10), SOURCES, Options(), 0))
    assert multiprocessing.active_children() == []
