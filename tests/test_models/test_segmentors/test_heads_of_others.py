"""Heads of mmdet in this library's model are errors at build."""
import pytest
from mmdet.registry import MODELS
from mmengine.config import Config


@pytest.fixture
def model(repo_root):
    return Config.fromfile(repo_root / 'configs/_base_/models/mask2former_r18_small.py').model


@pytest.mark.parametrize('key, kind, fix', [
    ('panoptic_fusion_head', 'MaskFormerFusionHead', 'mmpanseg.PixelwiseFusionHead'),
    ('panoptic_fusion_head', 'mmdet.HeuristicFusionHead', 'mmpanseg.PixelwiseFusionHead'),
    ('panoptic_head', 'Mask2FormerHead', 'mmpanseg.Mask2FormerHead'),
    ('panoptic_head', 'mmdet.MaskFormerHead', 'mmpanseg.Mask2FormerHead'),
])
def test_refused_by_name(model, key, kind, fix):
    model[key].type = kind
    with pytest.raises(ValueError, match=f'model.{key}.type {kind.split(".")[-1]} is .*{fix}'):
        MODELS.build(model)


def test_initialization_without_log_file(model, capsys):
    """mmengine prints several lines for each parameter where it finds no log file."""
    MODELS.build(model).init_weights()
    assert capsys.readouterr().out == ''
