"""The test suite itself: what it says about tests that did not run."""
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize('workers', ['0', '1'])
def test_skipped_comparisons_are_counted(repo_root, tmp_path, workers):
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-n', workers, '-p', 'no:cacheprovider',
         'tests/test_models/test_heads/test_mask2former.py', '-k', 'published'],
        cwd=repo_root, env={**os.environ, 'MMPANSEG_SHARED': str(tmp_path / 'absent')},
        capture_output=True, text=True, timeout=300)
    line, = (line for line in done.stdout.splitlines() if 'published outputs' in line)
    count = int(line.split()[0])
    assert count >= 1 and f'{count} skipped' in done.stdout
    assert line.endswith('were skipped: the folder that MMPANSEG_SHARED names is absent')
