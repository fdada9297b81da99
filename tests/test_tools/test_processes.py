"""tools/dist_train.sh with a process that raises, is killed, or is too slow."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    torch.cuda.is_available(), reason='checks machines without a GPU')]
TROUBLE = """
import os
import signal
import time

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class Trouble(Hook):
    def __init__(self, how):
        self.how = how

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if get_rank() == 1 and runner.iter == 2:
            if self.how == 'raises':
                raise ZeroDivisionError('in step 3')
            if self.how == 'is killed':
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(200)
"""


def start(folder: Path, config: Path, *options: str) -> subprocess.Popen:
    (folder / 'trouble.py').write_text(TROUBLE)
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHON=sys.executable, PYTHONPATH=os.pathsep.join(
        [str(ROOT), str(folder), os.environ.get('PYTHONPATH', '')]))
    return subprocess.Popen(
        ['bash', ROOT / 'tools/dist_train.sh', config, '2', '--work-dir', 'run',
         *(['--cfg-options', *options] if options else [])],
        cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def config_with(folder: Path, base: Path, how: str) -> Path:
    path = folder / 'two.py'
    path.write_text(f"_base_ = '{base.as_posix()}'\n"
                    "custom_imports = dict(imports=['mmpanseg', 'trouble'])\n"
                    f"custom_hooks = [dict(type='Trouble', how='{how}')]\n"
                    'env_cfg = dict(dist_cfg=dict(timeout=8))\n')
    return path


@pytest.mark.parametrize('how, line', [
    ('raises', 'train.py: error: rank 1 of 2 failed: ZeroDivisionError: in step 3'),
    ('is killed', 'train.py: error: rank 1 of 2 failed: it was killed by SIGKILL (by a user, by '
     'a scheduler, or because memory ran out)'),
    ('is late', 'train.py: error: rank 0 of 2 waited 8 s in vain for rank 1, which hangs or is '
     'slower than env_cfg.dist_cfg.timeout (seconds) permits: RuntimeError: ')])
def test_all_processes_end(tiny_config, tmp_path, how, line):
    begin = time.monotonic()
    process = start(tmp_path, config_with(tmp_path, tiny_config, how))
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 1, output
    assert time.monotonic() - begin < 150
    assert 'Iter(train) [2/4]' in output and 'Iter(train) [3/4]' not in output
    last = output.strip().splitlines()[-1]
    assert last.startswith(line) if how == 'is late' else last == line, output
    # the error of the process itself is there, and torchrun's summary is not
    assert ('[rank1]: ZeroDivisionError: in step 3' in output) == (how == 'raises')
    for word in ('ChildFailedError', 'closing signal', 'Root Cause'):
        assert word not in output


def test_mistakes_of_all_processes_are_told_once(tiny_config, tmp_path):
    process = start(tmp_path, tiny_config, 'load_from=nowhere.pth')
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 1
    assert output.count('error') == 1, output
    assert output.strip().splitlines()[-1].endswith('checkpoint nowhere.pth does not exist')
    assert 'Traceback' not in output


def test_the_launcher_ends_with_its_processes(tiny_config, tmp_path):
    """SIGTERM, as a scheduler sends it: no traceback of the launcher, no process is left."""
    process = start(tmp_path, config_with(tmp_path, tiny_config, 'is late'),
                    'env_cfg.dist_cfg.timeout=100')
    lines = []
    for line in process.stdout:
        lines.append(line)
        if 'Iter(train) [2/4]' in line:
            process.send_signal(signal.SIGTERM)
            break
    output = ''.join(lines) + process.communicate(timeout=120)[0]
    assert process.returncode == 128 + signal.SIGTERM, output
    assert 'SignalException' not in output
