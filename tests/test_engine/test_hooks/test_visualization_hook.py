"""Pictures of a test: one for each image, whatever it is called and in whichever process."""
from types import SimpleNamespace

import cv2
import mmengine.dist
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData, PixelData
from mmengine.visualization import Visualizer

from mmpanseg.engine.hooks import PanopticVisualizationHook
from mmpanseg.visualization import PanopticVisualizer

META = dict(classes=('ball', 'sky'), thing_classes=('ball',), stuff_classes=('sky',),
            palette=[(200, 60, 60), (90, 150, 220)])


class Data:
    """Images of one name in two folders and with two endings, each of a color of its own."""

    names = ('a/1.png', 'b/1.png', 'b/1.JPG', 'b/x y.webp', 'b/2.ppm')

    def __init__(self, folder):
        self.paths = [str(folder / 'images' / name) for name in self.names]
        for shade, path in enumerate(self.paths):
            (folder / 'images' / path).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(path, np.full((32, 32, 3), 40 * shade + 40, np.uint8))

    def __len__(self):
        return len(self.paths)

    def get_data_info(self, index):
        return dict(img_path=self.paths[index])


@pytest.fixture(autouse=True)
def current_visualizer(monkeypatch):
    """What mmdet's hook looks for when it is built."""
    monkeypatch.setattr(Visualizer, 'get_current_instance', lambda: None)


def draw(folder, visualizer, sample_of):
    data = Data(folder)
    visualizer.dataset_meta = META
    runner = SimpleNamespace(work_dir=str(folder), timestamp='now', test_dataloader=SimpleNamespace(
        dataset=data))
    hook = PanopticVisualizationHook(draw=True, test_out_dir='pictures')
    hook._visualizer = visualizer
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, {}, [sample_of(path) for path in data.paths])
    return sorted(str(path.relative_to(folder / 'now/pictures'))
                  for path in (folder / 'now/pictures').rglob('*.*'))


def panoptic(path):
    sample = DetDataSample(metainfo=dict(img_path=path, ori_shape=(32, 32)))
    sample.pred_panoptic_seg = PixelData(sem_seg=torch.full((1, 32, 32), 2))
    sample.pred_panoptic_seg.set_metainfo(dict(segments_info=[]))
    return sample


PICTURES = ['a/1.png', 'b/1.JPG', 'b/1.png', 'b/2.ppm.png', 'b/x y.webp']


@pytest.mark.parametrize('rank', [0, 1])
def test_a_picture_for_each_image(tmp_path, monkeypatch, rank):
    monkeypatch.setattr(mmengine.dist.utils, 'get_rank', lambda group=None: rank)
    assert mmengine.dist.is_main_process() == (rank == 0)
    assert draw(tmp_path, PanopticVisualizer(min_side=1), panoptic) == PICTURES
    # nothing was found, so that pictures are the images
    for name, shade in (('a/1.png', 40), ('b/1.png', 80), ('b/1.JPG', 120), ('b/2.ppm.png', 200)):
        picture = cv2.imread(str(tmp_path / 'now/pictures' / name))
        assert abs(float(np.median(picture)) - shade) < 3


def test_mmdets_visualizer(tmp_path):
    def boxes(path):
        sample = DetDataSample(metainfo=dict(img_path=path))
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([[1.0, 1.0, 9.0, 9.0]]), labels=torch.zeros(1, dtype=torch.long),
            scores=torch.ones(1))
        return sample
    assert draw(tmp_path, DetLocalVisualizer(), boxes) == PICTURES


def test_nothing_is_drawn_unless_asked(tmp_path):
    hook = PanopticVisualizationHook()
    runner = SimpleNamespace(test_dataloader=None)
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, {}, [DetDataSample(metainfo=dict(img_path='absent.png'))])
    assert hook._test_index == 0 and not list(tmp_path.iterdir())
