"""Pictures of clusters, drawn as a user draws them, on drawn scenes."""
import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmpanseg.datasets.scenes.generator import write_scenes
from mmpanseg.registry import MODELS

from .. import forked

SCENES = '{}_1xb4-scratch-demo_scenes-panoptic.py'


@pytest.fixture(scope='module')
def run(tmp_path_factory, repo_root):
    """Runs the tool on a config; weights are random."""
    init_default_scope('mmdet')
    folder = tmp_path_factory.mktemp('clusters')
    write_scenes(str(folder), 'val', 1, (48, 64), 0)

    def run_tool(config, *options):
        config = Config.fromfile(repo_root / 'configs' / config)
        config.test_dataloader.dataset.data_root = str(folder)
        config.dump(folder / 'config.py')
        torch.save(MODELS.build(config.model).state_dict(), folder / 'weights.pth')
        done = forked.run([repo_root / 'tools/analysis_tools/kmeans_assignments.py', 'config.py',
                           'weights.pth', '--out-dir', 'clusters', *options], cwd=folder)
        return done, folder / 'clusters'
    return run_tool


@pytest.mark.slow
def test_one_row_for_each_image(run):
    done, folder = run(f'kmax_deeplab/kmax_deeplab_{SCENES.format("r18")}', '--width', '80')
    assert done.returncode == 0, done.stderr[-2000:]
    assert '1 pictures are in clusters' in done.stdout
    path, = folder.glob('*.png')
    # the image, three stages, the result
    assert 5 * 80 < cv2.imread(str(path)).shape[1] < 5 * 100


@pytest.mark.slow
def test_another_head(run):
    done, _ = run(f'mask2former/mask2former_{SCENES.format("r18")}')
    assert done.returncode == 1
    assert 'error: Mask2FormerHead has no cluster assignments: ' in done.stderr
