"""One training at a time in a work dir, whatever happened to its last owner."""
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmpanseg.engine import UsageError
from mmpanseg.engine.work_dir_lock import LOCK, WorkDirLock

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')


@pytest.fixture
def owner(tmp_path):
    """A process that has the lock; its own child outlives it, like a worker of a data loader."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        lock = WorkDirLock(tmp_path)
        lock.acquire()
        if not os.fork():
            os.write(writer, b'.')  # the fork is complete in this process
            time.sleep(20)
            os._exit(0)
        time.sleep(60)
        os._exit(0)
    os.read(reader, 1)
    yield child
    for descriptor in (reader, writer):
        os.close(descriptor)
    if child is not None:
        try:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def content(tmp_path: Path) -> dict:
    return json.loads((tmp_path / LOCK).read_text())


def test_a_second_owner_is_refused_with_the_name_of_the_first(owner, tmp_path):
    started = subprocess.run(['ps', '-o', 'etimes=', '-p', str(owner)], capture_output=True,
                             text=True)
    assert content(tmp_path)['pid'] == owner
    with pytest.raises(UsageError) as error:
        WorkDirLock(tmp_path).acquire()
    text = str(error.value)
    for part in (str(tmp_path), f'process {owner} on {socket.gethostname()}', '--work-dir',
                 content(tmp_path)['started']):
        assert part in text
    assert '\n' not in text
    stated = time.mktime(time.strptime(content(tmp_path)['started'], '%Y-%m-%d %H:%M:%S'))
    if started.returncode == 0:
        assert abs(time.time() - stated - int(started.stdout)) < 3


def test_the_lock_of_a_dead_owner_is_taken_over(owner, tmp_path):
    """At once, although a process that it forked still runs."""
    os.kill(owner, signal.SIGKILL)
    os.waitpid(owner, 0)
    with WorkDirLock(tmp_path) as lock:
        text = lock.acquire()
        assert f'process {owner} on' in text and 'took over' in text and '\n' not in text
        assert content(tmp_path)['pid'] == os.getpid()
    assert not (tmp_path / LOCK).exists()


def test_one_after_the_other_in_one_process(tmp_path):
    for _ in range(3):
        with WorkDirLock(tmp_path) as lock:
            assert lock.acquire() == ''
            with pytest.raises(UsageError, match=f'process {os.getpid()} '):
                WorkDirLock(tmp_path).acquire()
        lock.release()  # has no effect


def test_a_release_does_not_remove_the_lock_of_another(tmp_path):
    first = WorkDirLock(tmp_path)
    first.acquire()
    (tmp_path / LOCK).unlink()  # by the user
    with WorkDirLock(tmp_path) as second:
        assert second.acquire() == ''
        first.release()
        assert content(tmp_path)['pid'] == os.getpid()


@pytest.mark.parametrize('text', ['', '{', '[1]', '{}', '{"pid": "many"}', '\0\0\0'])
def test_files_without_an_owner_are_taken(tmp_path, text):
    """Of a process that ended before it wrote its name."""
    (tmp_path / LOCK).write_text(text)
    if text.startswith('{"'):  # of an unknown machine, like the next test's
        os.utime(tmp_path / LOCK, (1, 1))
    with WorkDirLock(tmp_path) as lock:
        lock.acquire()
        assert content(tmp_path)['pid'] == os.getpid()


OTHER = dict(host='another-host', pid=1, started='2024-01-01 00:00:00', ticks=5, boot='another',
             machine='another', job='', restart='')


@pytest.mark.parametrize('change, age, free', [
    ({}, 0, False),
    ({}, 500, False),
    ({}, 700, True),  # no sign of life for ten minutes
    (dict(host=None, machine=None), 0, True),  # this machine, before its restart
    (dict(host=None), 0, False),  # another one of the same name
    (dict(job='77'), 0, True),  # the same Slurm job, started again on another machine
    (dict(job='77', restart='1'), 0, False),  # another step of the same job
    (dict(job='78'), 0, False)])
def test_owners_on_another_machine(tmp_path, monkeypatch, change, age, free):
    monkeypatch.setenv('SLURM_JOB_ID', '77')
    monkeypatch.setenv('SLURM_RESTART_COUNT', '1')
    with WorkDirLock(tmp_path) as lock:
        lock.acquire()
        here = content(tmp_path)
    if not here['machine']:
        here['machine'] = 'unknown'
        if 'machine' in change:
            pytest.skip('this machine has no /etc/machine-id')
    entry = {**OTHER, **{key: here[key] if value is None else value
                         for key, value in change.items()}}
    path = tmp_path / LOCK
    path.write_text(json.dumps(entry))
    os.utime(path, (time.time() - age,) * 2)
    with WorkDirLock(tmp_path) as lock:
        if free:
            assert f'on {entry["host"]}' in lock.acquire()
            return
        with pytest.raises(UsageError, match=f'on {entry["host"]}.*remove {path}'):
            lock.acquire()


@pytest.mark.parametrize('alive, same_start, free', [
    (True, True, False), (True, False, True), (False, True, True)])
def test_without_locks_of_the_file_system_the_process_is_asked(
        tmp_path, monkeypatch, alive, same_start, free):
    """Also where its number belongs to another process now."""
    monkeypatch.setattr('fcntl.flock', lambda *args: (_ for _ in ()).throw(OSError('no locks')))
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    with WorkDirLock(tmp_path) as lock:
        lock.acquire()
        entry = content(tmp_path)
    ticks = int(Path(f'/proc/{child}/stat').read_text().rpartition(')')[2].split()[19])
    entry.update(pid=child, ticks=ticks if same_start else ticks - 1)
    (tmp_path / LOCK).write_text(json.dumps(entry))
    if not alive:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        with WorkDirLock(tmp_path) as lock:
            if free:
                assert str(child) in lock.acquire()
            else:
                with pytest.raises(UsageError, match=f'process {child} on'):
                    lock.acquire()
    finally:
        if alive:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    with pytest.raises(OSError, match='gone'):
        WorkDirLock(tmp_path / 'gone').acquire()
