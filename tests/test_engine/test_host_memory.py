"""Freed memory is used again. The C library's settings are for good: processes are started."""
import os
import platform
import subprocess
import sys

import pytest

from .. import forked

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='a setting of glibc')

SCRIPT = """
import resource, sys
import torch
from mmpanseg.engine.launch import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == 'keep' else None
torch.set_num_threads(1)
touch = lambda: torch.empty(16 << 20).fill_(1)  # 64 MB
for _ in range(20):  # small objects take their places between the large ones first
    touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    touch()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


CLEAN = {name: value for name, value in os.environ.items()
         if not name.startswith('MALLOC_') and name != 'GLIBC_TUNABLES'}


def kept_and_faults(done: subprocess.CompletedProcess) -> tuple[str, int]:
    """What keep_freed_memory returned, and page faults of ten large tensors one by one."""
    assert done.returncode == 0, done.stderr
    kept, count = done.stdout.split()[-2:]  # mmdet prints which optional packages it lacks
    return kept, int(count)


def faults(mode: str) -> tuple[str, int]:
    """Of a fresh process, whose memory has no history."""
    return kept_and_faults(subprocess.run([sys.executable, '-c', SCRIPT, mode], env=CLEAN,
                                          capture_output=True, text=True))


@pytest.mark.slow
def test_pages_are_touched_once():
    kept, count = faults('keep')
    assert kept == 'True'
    # a small object in the wrong place costs one tensor of fresh pages, which is rare
    assert 4 * count < faults('leave')[1]


def test_variables_of_the_user_come_first(tmp_path):
    (tmp_path / 'script.py').write_text(SCRIPT)
    kept, count = kept_and_faults(forked.run(
        [tmp_path / 'script.py', 'keep'], env={**CLEAN, 'MALLOC_ARENA_MAX': '2'}))
    assert kept == 'False'
    assert count >= 10 * 32
