"""One of several processes raises, is killed, or is too slow: the others end, the reason is named.

The processes are forked and join a group as the tools do; tests/test_tools/test_processes.py runs
the same through tools/dist_train.sh.
"""
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import distributed as dist

from mmpanseg.engine import UsageError, run_tool, set_launcher
from mmpanseg.engine.process_errors import (
    FOLDER,
    RankError,
    connection_problem,
    describe_failure,
    read_reports,
)

from ..processes import codes_and_output, end_ranks, start_ranks

TIMEOUT = 6
SIZE = 3


def fail(how: str) -> None:
    """What happens to rank 1 in its third step."""
    if how == 'raises':
        raise ZeroDivisionError('in step 3')
    if how == 'is mistaken':
        raise UsageError('no such file')
    if how == 'is killed':
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(100)


def training(rank: int, how: str, port: int, folder: Path) -> None:
    """Steps that end in a collective call, as those of a training."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(SIZE),
                      MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), **{FOLDER: str(folder)})

    def main() -> None:
        set_launcher(Config(dict(env_cfg=dict(dist_cfg=dict(
            backend='nccl', timeout=TIMEOUT)))), 'pytorch')
        for step in range(5):
            if step == 2 and rank == 1:
                fail(how)
            value = torch.ones(3)
            dist.all_reduce(value)
            assert value.tolist() == [SIZE] * 3

    sys.argv = ['tools/train.py']
    run_tool(main)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason='checks machines without a GPU')
@pytest.mark.parametrize('how, code, line', [
    ('raises', 1, 'rank 1 of 3 failed: ZeroDivisionError: in step 3'),
    ('is mistaken', 1, 'rank 1 of 3: no such file'),
    ('is killed', -signal.SIGKILL,
     'rank 1 of 3 failed: it was killed by SIGKILL (by a user, by a scheduler, or because memory'),
    ('is late', None, 'of 3 waited 6 s in vain for rank 1, which hangs or is slower than '
     'env_cfg.dist_cfg.timeout (seconds) permits')])
def test_all_processes_end(how, code, line, tmp_path):
    start = time.monotonic()
    ranks = start_ranks(training, SIZE, tmp_path, how, free_port(), tmp_path)
    for process in (ranks[0], ranks[2]):
        process.join(60)
    took = time.monotonic() - start
    codes = end_ranks(ranks, 0 if how == 'is late' else 60)
    output = codes_and_output(codes, tmp_path)
    assert codes == [1, code, 1], output
    assert took < 60, output
    ended = {rank: code for rank, code in enumerate(codes) if code}
    text = describe_failure(read_reports(tmp_path), ended, range(SIZE), SIZE)
    assert line in text and '\n' not in text, output
    for rank in (0, 2):
        own = (tmp_path / f'{rank}.txt').read_text()
        if how == 'is late':
            assert 'Traceback' in own  # it shows the call that waited
        else:
            assert own.count('\n') == 1 and own.startswith(
                f'[rank{rank}]: ended, because the connection to another process is broken')
    if how == 'raises':
        assert 'Traceback' in (tmp_path / '1.txt').read_text()


def report(rank: int, kind: str, text: str = 'why', at: float = 0.0) -> RankError:
    return RankError(rank, kind, text, at)


@pytest.mark.parametrize('reports, codes, expected', [
    # the same mistake everywhere is not that of a rank
    ([report(k, 'mistake') for k in range(3)], {0: 1}, 'why'),
    ([report(2, 'mistake')], {2: 1}, 'rank 2 of 3: why'),
    # a broken connection is never the cause, whatever came first
    ([report(0, 'lost', at=1.0), report(1, 'error', 'cause', at=2.0)], {0: 1},
     'rank 1 of 3 failed: cause'),
    ([report(0, 'lost')], {0: 1, 2: -11}, 'rank 2 of 3 failed: it was killed by SIGSEGV'),
    ([report(1, 'error', 'second', 2.0), report(2, 'error', 'first', 1.0)], {1: 1, 2: 1},
     'rank 2 of 3 failed: first'),
    # the launcher stops those that are left
    ([], {0: -15, 1: -9}, 'rank 1 of 3 failed: it was killed by SIGKILL (by a user, by a '
     'scheduler, or because memory ran out)'),
    ([report(1, 'error', 'cause')], {0: -9, 1: 1, 2: -15}, 'rank 1 of 3 failed: cause'),
    ([report(k, 'late') for k in (0, 2)], {0: 1, 1: -9, 2: 1},
     'rank 0 of 3 waited in vain for rank 1, which hangs or is slower than '
     'env_cfg.dist_cfg.timeout (seconds) permits: why'),
    ([], {0: -15, 1: -15, 2: -15}, 'rank 0 of 3 failed: it was killed by SIGTERM'),
    # libraries abort the processes that wait for one that failed
    ([report(1, 'error', 'cause', 5.0)], {0: -6, 1: 1}, 'rank 1 of 3 failed: cause'),
    ([report(0, 'late', '[unbound_buffer.cc:78] Timed out waiting 90500ms for recv')], {0: 1},
     'rank 0 of 3 waited 90.5 s in vain for rank 1, 2, which hangs or is slower than '
     'env_cfg.dist_cfg.timeout (seconds) permits: [unbound_buffer.cc:78] Timed out waiting '
     '90500ms for recv'),
    ([report(k, 'late') for k in range(3)], {0: 1},
     'rank 0 of 3 waited in vain for a process of another machine, which hangs or is slower than '
     'env_cfg.dist_cfg.timeout (seconds) permits: why'),
    ([report(0, 'lost')], {0: 1},
     'rank 0 of 3 lost the connection to a process of another machine: why'),
    ([], {1: 7}, 'rank 1 of 3 failed: it ended with exit status 7'),
    ([], {1: -50}, 'rank 1 of 3 failed: it was killed by signal 50'),
    ([], {}, 'a process has ended without a reason')])
def test_the_first_cause(reports, codes, expected):
    assert describe_failure(reports, codes, range(3), 3) == expected


def test_reports_that_are_damaged(tmp_path):
    (tmp_path / '0.json').write_text('{"rank": 0, "ki')
    (tmp_path / '1.json').write_text(json.dumps(report(1, 'error')._asdict()))
    assert read_reports(tmp_path) == [report(1, 'error')]


@pytest.mark.parametrize('error, kind', [
    (RuntimeError('[/gloo/transport/tcp/pair.cc:544] Connection closed by peer [127.0.0.1]:1'),
     'lost'),
    (RuntimeError('[/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 2000ms for recv '
                  'operation to complete'), 'late'),
    (dist.DistBackendError('NCCL error: remote process exited or there was a network error'),
     'lost'),
    (dist.DistStoreError('wait timeout after 2000ms, keys: /default_pg/0//store_based_barrier'),
     'late'),
    (RuntimeError('mat1 and mat2 shapes cannot be multiplied'), None),
    (RuntimeError('DataLoader timed out after 5 seconds'), None),
    (ValueError('gloo: connection closed by peer'), None)])
def test_errors_that_another_process_has_caused(error, kind):
    assert connection_problem(error) == kind


def stop_with_mistake() -> None:
    raise UsageError('config file a.py does not exist')


def test_other_launchers_print_mistakes_with_the_rank(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['tools/train.py'])
    monkeypatch.delenv(FOLDER, raising=False)
    for names in (dict(RANK='3', WORLD_SIZE='4'), dict(SLURM_PROCID='3', SLURM_NTASKS='4')):
        with monkeypatch.context() as patch:
            for name, value in names.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit, match=(
                    '^train.py: error: rank 3: config file a.py does not exist$')):
                run_tool(stop_with_mistake)
    with pytest.raises(SystemExit, match='^train.py: error: config file a.py does not exist$'):
        run_tool(stop_with_mistake)


@pytest.mark.parametrize('timeout', [0, -1, '30', True])
def test_timeouts_that_are_none(timeout, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '0')
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(timeout=timeout))))
    with pytest.raises(UsageError, match='dist_cfg.timeout=.* must be a number of seconds above'):
        set_launcher(cfg, 'pytorch')


@pytest.mark.skipif(dist.is_mpi_available(), reason='this torch has MPI')
def test_backends_that_torch_lacks(monkeypatch):
    monkeypatch.setattr('mmpanseg.engine.launch.get_device', lambda: 'cpu')
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '0')
    with pytest.raises(UsageError, match="env_cfg.dist_cfg: no process group with backend 'mpi'"):
        set_launcher(Config(dict(env_cfg=dict(dist_cfg=dict(backend='mpi')))), 'pytorch')


def test_reading_environment_and_files_needs_no_torch():
    code = ('import sys, mmpanseg.engine.process_errors; '
            "assert not {'torch', 'mmengine'} & set(sys.modules)")
    subprocess.run([sys.executable, '-c', code], check=True)
