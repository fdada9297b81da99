"""Windows where there are none."""
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData

from mmpanseg.visualization import (
    NoDisplayError,
    PanopticVisualizer,
    panoptic_visualizer,
    require_display,
)


@pytest.mark.parametrize('backend', ['agg', 'svg', 'Cairo'])
def test_no_window(monkeypatch, backend):
    monkeypatch.setattr(pyplot, 'get_backend', lambda: backend)
    with pytest.raises(NoDisplayError, match=f'no window .*{backend}.*--show-dir, out_dir'):
        require_display()
    visualizer = PanopticVisualizer()
    sample = DetDataSample(pred_sem_seg=PixelData(sem_seg=torch.zeros(1, 4, 4, dtype=torch.long)))
    with pytest.raises(NoDisplayError):
        visualizer.add_datasample('a', np.zeros((4, 4, 3), np.uint8), sample, show=True)


@pytest.mark.parametrize('backend', [
    'TkAgg', 'qtagg', 'module://matplotlib_inline.backend_inline', 'inline', 'nbagg'])
def test_windows_and_notebooks(monkeypatch, backend):
    monkeypatch.setattr(pyplot, 'get_backend', lambda: backend)
    assert require_display() is None


def test_a_window_is_opened(monkeypatch):
    shown = []
    monkeypatch.setattr(panoptic_visualizer, 'require_display', lambda: None)
    monkeypatch.setattr(panoptic_visualizer.DetLocalVisualizer, 'show',
                        lambda self, picture, **options: shown.append((picture.shape, options)))
    sample = DetDataSample(pred_sem_seg=PixelData(sem_seg=torch.zeros(1, 4, 4, dtype=torch.long)))
    PanopticVisualizer(min_side=4).add_datasample(
        'a', np.zeros((4, 4, 3), np.uint8), sample, show=True, wait_time=3)
    assert shown == [((4, 4, 3), dict(win_name='a', wait_time=3))]
