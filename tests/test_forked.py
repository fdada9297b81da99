"""Processes that are forked for the tests of tools are as fresh ones."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from . import forked

PROBE = """
import atexit, json, locale, logging, os, random, signal, sys, threading, warnings

state = dict(
    arguments=sys.argv, first_path=sys.path[0], paths=sorted({*sys.path}), name=__name__,
    file=__file__, folder=os.getcwd(), environment=dict(os.environ),
    leader=os.getsid(0) == os.getpid(),
    signals={number.name: str(signal.getsignal(number)) for number in signal.valid_signals()
             if isinstance(number, signal.Signals)},
    wakeup=signal.set_wakeup_fd(-1), threads=threading.active_count(),
    handlers=len(logging.root.handlers), level=logging.root.level, input=sys.stdin.read(),
    umask=os.umask(0), tty=sys.stdout.isatty(), encoding=[sys.stdout.encoding, locale.getlocale()],
    buffered=[sys.stdout.line_buffering, sys.stdout.write_through])
state['files'] = sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists(
    f'/proc/self/fd/{n}'))
from mmpanseg.engine import import_mmdet
import_mmdet()
import numpy as np
import torch
from mmengine.utils import ManagerMixin
import mmengine.logging, mmengine.visualization, mmengine.registry
state['filters'] = sorted({str(entry[:3]) for entry in warnings.filters})
state['managed'] = {
    kind.__name__: list(kind._instance_dict) for kind in ManagerMixin.__subclasses__()}
state['torch'] = [
    torch.get_num_threads(), torch.get_num_interop_threads(), str(torch.get_default_dtype()),
    torch.is_grad_enabled(), torch.distributed.is_initialized()]
state['random'] = [random.random(), np.random.rand(), torch.rand(1).item(), torch.initial_seed()]
state['rooms'] = sorted(name for name in sys.modules if name.startswith('mmpanseg.models'))
import beside
state['beside'] = beside.VALUE
atexit.register(print, 'the end')
print(json.dumps(state))
"""
ENDS = {
    'return': 'print(1)', 'text': "import sys; sys.exit('why')", 'number': 'raise SystemExit(7)',
    'none': 'raise SystemExit', 'error': "{}['key']", 'interrupt': 'raise KeyboardInterrupt',
    'kill': 'import os, signal; os.kill(os.getpid(), signal.SIGKILL)',
    'abort': 'import os; os.abort()', 'at once': "import os; print('lost'); os._exit(3)",
    'syntax': 'a = (', 'thread': 'import threading, time\nthreading.Timer(0.2, print, [2]).start()',
    'fork': 'import os\nif not os.fork(): os._exit(1)\nprint(os.wait()[1])'}


@pytest.fixture
def script(tmp_path):
    """Writes a script, beside which there is a module."""
    (tmp_path / 'scripts').mkdir()
    (tmp_path / 'scripts/beside.py').write_text('VALUE = 5')

    def write(text):
        (tmp_path / 'scripts/script.py').write_text(text)
        return tmp_path / 'scripts/script.py'
    return write


def probed(done):
    assert done.returncode == 0 and done.stderr == '', done.stderr
    first, last = done.stdout.splitlines()
    assert last == 'the end'
    return json.loads(first)


def test_state(script, tmp_path):
    env = dict(os.environ, OMP_NUM_THREADS='2', PYTHONPATH=f'{tmp_path}{os.pathsep}', ONLY='here')
    path = script(PROBE)
    states = [probed(forked.run([path, 'a b', 1], cwd=tmp_path, env=env)) for _ in range(2)]
    state = states[0]
    assert state['arguments'] == [str(path), 'a b', '1'] and state['name'] == '__main__'
    assert state['file'] == str(path) and state['folder'] == str(tmp_path)
    assert state['first_path'] == str(path.parent) and str(tmp_path) in state['paths']
    assert state['environment'] == env
    assert state['leader'] and state['threads'] == 1 and state['torch'][0] == 2
    assert state['files'] == [0, 1, 2] and state['input'] == ''
    assert not any(state['managed'].values()) and not state['handlers']
    assert state['rooms'] == [] or os.environ.get(forked.FRESH, '0') != '0'
    for one, other in zip(*(entry['random'] for entry in states)):
        assert one != other


@pytest.mark.slow
def test_state_of_a_fresh_process(script, tmp_path, monkeypatch):
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join(
        [str(forked.ROOT), str(tmp_path)]))
    path = script(PROBE)
    found = probed(forked.run([path, 'x'], cwd=tmp_path, env=env))
    monkeypatch.setenv(forked.FRESH, '1')
    expected = probed(forked.run([path, 'x'], cwd=tmp_path, env=env))
    for state in (found, expected):
        for name in ('random', 'rooms'):
            del state[name]
    assert found == expected


@pytest.mark.parametrize('end', ENDS)
def test_ends(script, tmp_path, end):
    """Exit status, output and errors, but for the frames above the script's own."""
    path = script(ENDS[end])
    expected = subprocess.run([sys.executable, path], capture_output=True, text=True)
    found = forked.run([path], cwd=tmp_path)
    assert (found.returncode, found.stdout) == (expected.returncode, expected.stdout)
    assert found.stderr.splitlines()[-1:] == expected.stderr.splitlines()[-1:]


def test_modules_and_merged_output(script, tmp_path):
    script("import sys; print(sys.argv[1], __name__, flush=True); sys.exit('error')")
    done = forked.run(['-m', 'scripts.script', 'x'], cwd=tmp_path, merged=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, 'x __main__\nerror\n', '')


@pytest.mark.slow
def test_signals_and_time_limits(script, tmp_path):
    path = script("import time\nprint('started', flush=True)\ntime.sleep(60)")
    start = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        forked.run([path], timeout=0.5)
    for number in (signal.SIGTERM, signal.SIGINT):
        process = forked.Process([path], cwd=tmp_path)
        process.wait_for('started')
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(20) == -number
    processes = [forked.Process([path]) for _ in range(2)]
    with pytest.raises(AssertionError, match='never did not appear'):
        processes[0].wait_for('never', 0.1)
    for process in processes:
        process.kill()
        assert process.wait() == process.poll() == -signal.SIGKILL
    assert time.monotonic() - start < 40


@pytest.mark.slow
def test_the_server_ends_with_its_process():
    server = forked._Server()
    server.socket.close()
    assert server.process.wait(120) == 0
