"""A model on drawn scenes whose predictions are near the ground truth."""
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmpanseg.datasets.scenes.generator import write_scenes
from mmpanseg.models.heads import PanopticHead
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import DenseMaskLogits


class NoisyTruth(PanopticHead):
    """Head whose predictions are the ground truth of one image after the other, with noise."""

    def __init__(self, samples, num_classes):
        super().__init__()
        self.all_samples = samples
        self.num_classes = num_classes
        self.restart()

    def restart(self):
        self.samples = iter(self.all_samples)
        self.generator = torch.Generator().manual_seed(0)

    def predict(self, features, metainfos=None):
        segments = next(self.samples)['data_samples'][0].gt_segments
        masks = F.adaptive_avg_pool2d(segments.dense().float(), (12, 16)) * 8 - 4
        masks = torch.cat([masks, masks[:3].roll(3, -1)])
        masks += torch.randn(masks.shape, generator=self.generator) * 2
        logits = torch.randn(len(masks), self.num_classes + 1, generator=self.generator)
        logits[torch.arange(len(segments)), segments.labels] += 4
        logits[len(segments):, -1] += 1
        return logits[None], DenseMaskLogits([masks[None].half().float()])


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes')
    write_scenes(str(folder), 'val', 4, (48, 64), 0)
    return folder


@pytest.fixture
def model_and_loader(repo_root, scenes):
    init_default_scope('mmdet')
    cfg = Config.fromfile(
        repo_root / 'configs/mask2former/mask2former_r18_1xb4-scratch-demo_scenes-panoptic.py')
    cfg.test_dataloader.dataset.data_root = str(scenes)
    cfg.model.panoptic_fusion_head.object_mask_thr = 0.3
    loader = Runner.build_dataloader(cfg.test_dataloader)
    model = MODELS.build(cfg.model).eval()
    model.panoptic_head = NoisyTruth(list(loader), 12)
    model.dataset_meta = loader.dataset.metainfo
    return cfg, model, loader
