"""Clusters of a kMaX-DeepLab model's stages against its own predictions."""
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config

from mmpanseg.explain.cluster_maps import Clusters, cluster_maps, draw_clusters
from mmpanseg.registry import MODELS
from mmpanseg.visualization import generate_palette

from ..test_models.systems import batch as batch_of
from ..test_models.systems import build


@pytest.fixture(scope='module')
def model(repo_root):
    config = Config.fromfile(repo_root / 'configs/_base_/models/kmax_r18_small.py').model
    config.panoptic_head.num_queries = 5
    config.panoptic_head.transformer_decoder.num_layers = (2, 1, 1)
    torch.manual_seed(0)
    model = MODELS.build(config)
    # random predictions: a norm with a large scale parts the queries
    for name, parameter in model.named_parameters():
        if name.endswith('mask_norm.weight'):
            torch.nn.init.constant_(parameter, 3.0)
    model.eval()
    return model


@pytest.fixture
def batch():
    torch.manual_seed(0)
    sizes = [(50, 60), (40, 65)]
    return dict(
        inputs=[torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes],
        data_samples=[DetDataSample(metainfo=dict(img_shape=size)) for size in sizes])


def test_owners_are_the_largest_logits(model, batch):
    samples, maps = cluster_maps(model, batch, every_layer=True)
    assert [map_.stride for map_ in maps] == [32, 32, 16, 8, 4]
    inputs = model.data_preprocessor(batch)['inputs']
    assert inputs.shape[-2:] == (65, 65)
    with torch.no_grad():
        predictions = model.panoptic_head.decode(model.extract_feat(inputs))
    for prediction, map_ in zip(predictions, maps, strict=True):
        logits = prediction.mask_logits
        for image in range(2):
            for y, x in ((0, 0), (-1, -1), (logits.shape[2] // 2, 0)):
                best = max(range(5), key=lambda query: float(logits[image, query, y, x]))
                assert map_.owner[image, y, x] == best
    assert [sample.img_shape for sample in samples] == [(50, 60), (40, 65)]
    last_of_stages = cluster_maps(model, batch)[1]
    assert [map_.stride for map_ in last_of_stages] == [32, 16, 8, 4]
    assert np.array_equal(last_of_stages[0].owner, maps[1].owner)


def test_picture_shows_each_pixel_in_the_color_of_its_query():
    image = np.zeros((64, 96, 3), np.uint8)
    # the image fills 48 x 72 of an input of 65 x 97: two of three rows, three of four columns
    owner = np.array([[0, 1, 2, 9], [3, 4, 5, 9], [9, 9, 9, 9]], np.int32)[None]
    maps = [Clusters(32, owner), Clusters(64, owner[:, :2, :2])]
    picture = draw_clusters(image, maps, 0, (48, 72), num_queries=10, width=96)
    gutter = (picture.shape[1] - 3 * 96) // 2
    first = picture[:64, 96 + gutter:2 * 96 + gutter]
    palette = np.asarray(generate_palette(10))
    # pixel (y, x) of the picture is pixel 3 / 4 (y, x) of the input
    for y, x, query in ((10, 10, 0), (10, 60, 1), (10, 92, 2), (60, 10, 3), (60, 60, 4)):
        seen = first[y, x].astype(float)
        assert np.abs(seen - 0.7 * palette[query]).max() <= 2
    assert (picture[:64, :96] == 0).all()


def test_other_heads_have_no_clusters():
    with pytest.raises(ValueError, match='Mask2FormerHead has no cluster assignments: .*KMaXDeep'):
        cluster_maps(build('mask2former').eval(), batch_of((64, 96)))
