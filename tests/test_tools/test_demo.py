"""The demo from beginning to end, with two steps of training."""
import subprocess
import sys

import cv2
import pytest


@pytest.mark.slow
def test_demo(repo_root, tmp_path):
    done = subprocess.run(
        [sys.executable, str(repo_root / 'tools/demo.py'), '--iters', '2', '--train', '4', '--val',
         '2', '--pictures', '1', '--work-dir', str(tmp_path / 'work')],
        cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'PQ on 2 held-out scenes: ' in done.stdout
    assert (tmp_path / 'work/iter_2.pth').exists()
    # image, prediction and ground truth side by side
    picture = cv2.imread(str(tmp_path / 'work/pictures/000000.png'))
    assert picture.shape[1] > 3 * 256 and picture.std() > 10
