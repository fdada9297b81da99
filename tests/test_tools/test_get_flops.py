"""The table of parameters and FLOPs, run as a user runs it."""
import pytest

from .. import forked

CONFIG = 'configs/mask2former/mask2former_r18_1xb4-scratch-demo_scenes-panoptic.py'


def run(repo_root, *args):
    return forked.run(['tools/analysis_tools/get_flops.py', *args], cwd=repo_root)


@pytest.mark.slow
def test_rows_add_up(repo_root):
    done = run(repo_root, CONFIG, '--size', '64', '96')
    assert done.returncode == 0, done.stderr[-2000:]
    title, *rows = [line.rsplit(maxsplit=2) for line in done.stdout.splitlines()[-6:]]
    assert [row[0] for row in rows] == [
        'backbone', 'pixel decoder', 'transformer decoder', 'head', 'total']
    for column in (1, 2):
        *parts, total = (float(row[column]) for row in rows)
        assert sum(parts) == pytest.approx(total, abs=0.3)
        assert total > 0


def test_size_that_is_too_small(repo_root):
    done = run(repo_root, CONFIG, '--size', '8', '64')
    assert done.returncode == 1
    assert '--size 8 64' in done.stderr and 'at least 32' in done.stderr


def test_config_without_a_segmentor(repo_root):
    done = run(repo_root, 'configs/_base_/default_runtime.py')
    assert done.returncode == 1
    assert 'default_runtime.py has no model.panoptic_head' in done.stderr
