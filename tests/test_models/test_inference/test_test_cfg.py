"""Options of model.test_cfg."""
import pytest

from mmpanseg.models.inference import OutputOptions, TilingOptions
from mmpanseg.models.inference.test_cfg import read_test_cfg


@pytest.mark.parametrize('test_cfg, outputs, tiling', [
    (dict(), OutputOptions(), None),
    (dict(mode='whole', tile=(640, 320), instance_on=True), OutputOptions(instance_on=True), None),
    (dict(mode='tile', overlap=9, mask_format='rle'), OutputOptions(mask_format='rle'),
     TilingOptions(overlap=9)),
    (dict(mode='tile'), OutputOptions(), TilingOptions((1024, 1024), 128, 0.5))])
def test_options_of_both_kinds(test_cfg, outputs, tiling):
    assert read_test_cfg(test_cfg) == (outputs, tiling)


@pytest.mark.parametrize('options, resize_scores', [
    (dict(), False), (dict(panoptic_on=False, semantic_on=True), True),
    (dict(panoptic_on=False, semantic_on=True, semantic_resize='masks'), False),
    (dict(semantic_on=True, semantic_resize='scores'), True)])
def test_what_is_resized(options, resize_scores):
    assert OutputOptions(**options).resize_scores == resize_scores


@pytest.mark.parametrize('options, text', [
    (dict(panoptic_on=False), 'switches every output off'),
    (dict(max_per_image=0), 'max_per_image=0'),
    (dict(mask_format='polygon'), "mask_format='polygon' is unknown; choose one of dense, rle"),
    (dict(semantic_resize='both'), 'semantic_resize'),
    (dict(mode='slide'), "mode='slide' is unknown; choose one of whole, tile"),
    (dict(tiles=(5, 5)), "no entry 'tiles'"),
    (dict(tile=(640, 640)), "tile is for tiles: set model.test_cfg.mode='tile'"),
    (dict(tile=(64, 64), overlap=64), 'overlap=64 must be between 1 and 63'),
    (dict(tile=(64, 64), overlap=0), 'overlap=0'),
    (dict(tile=(64, )), 'must be height and width'),
    (dict(merge_iou=0), 'merge_iou=0')])
def test_mistakes(options, text):
    with pytest.raises(ValueError, match=text):
        read_test_cfg(options)
