"""Against the implementation in transformers, with random weights, both ways."""
import cv2
import pytest
import torch
from mmengine.config import ConfigDict

from mmpanseg.checkpoints import convert, read_weights, write_huggingface
from mmpanseg.registry import MODELS

transformers = pytest.importorskip('transformers', reason='transformers is not installed')

THINGS, STUFF = 3, 4
WIDTH, QUERIES = 32, 7


def backbones():
    """Configs there and here."""
    return dict(
        resnet=(
            transformers.ResNetConfig(
                embedding_size=8, hidden_sizes=[16, 32, 64, 128], depths=[3, 4, 6, 3],
                layer_type='bottleneck', out_features=['stage1', 'stage2', 'stage3', 'stage4']),
            dict(type='ResNet', depth=50, stem_channels=8, base_channels=4, norm_eval=True),
            [16, 32, 64, 128]),
        swin=(
            transformers.SwinConfig(
                embed_dim=16, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8], window_size=5,
                out_features=['stage1', 'stage2', 'stage3', 'stage4']),
            dict(type='SwinTransformer', embed_dims=16, depths=(2, 2, 2, 2),
                 num_heads=(1, 2, 4, 8), window_size=5), [16, 32, 64, 128]))


def theirs(config):
    torch.manual_seed(0)
    model = transformers.Mask2FormerForUniversalSegmentation(transformers.Mask2FormerConfig(
        backbone_config=config, feature_size=WIDTH, mask_feature_size=WIDTH, hidden_dim=WIDTH,
        encoder_feedforward_dim=48, encoder_layers=2, decoder_layers=4, num_attention_heads=4,
        dim_feedforward=40, num_queries=QUERIES, num_labels=THINGS + STUFF)).eval()
    with torch.no_grad():
        for value in model.parameters():
            if value.dim() == 1:  # also norms and biases count
                value += 0.2 * torch.randn_like(value)
        for name, value in model.named_buffers():
            if name.endswith('running_mean'):
                value += 0.1 * torch.randn_like(value)
            if name.endswith('running_var'):
                value *= 0.5 + torch.rand_like(value)
        # such that queries differ and some are sure of class and mask
        for name, factor in (('queries_features', 3), ('class_predictor', 20),
                             ('decoder.mask_predictor.mask_embedder.2.0', 10)):
            value, = (p for n, p in model.named_parameters() if n.endswith(f'{name}.weight'))
            value *= factor
    return model


def ours(backbone, channels):
    return ConfigDict(
        type='mmpanseg.MaskTransformer', num_things_classes=THINGS, num_stuff_classes=STUFF,
        backbone=backbone,
        panoptic_head=dict(
            type='mmpanseg.Mask2FormerHead', in_channels=channels, channels=WIDTH,
            out_channels=WIDTH, num_queries=QUERIES,
            pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=2, num_heads=4,
                               feedforward_channels=48),
            transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=3,
                                     num_heads=4, feedforward_channels=40)),
        panoptic_fusion_head=dict(
            type='mmpanseg.PixelwiseFusionHead', object_mask_thr=0.1, iou_thr=0.1))


@pytest.fixture
def images(shared):
    """Real images [1, 3, H, W], normalized."""
    paths = [*sorted((shared / 'data/images').glob('[dg]*.jpg')),
             *sorted((shared / 'data/coco_panoptic_sample/input_images').glob('*.jpg'))]
    assert len(paths) >= 4
    pixels = [cv2.resize(cv2.imread(str(path)), (160, 128))[..., ::-1].copy() for path in paths]
    return [(torch.from_numpy(x).permute(2, 0, 1)[None].float() - 118) / 58 for x in pixels]


def processor():
    """Decisions on logits only: needs no image library."""
    from transformers.models.mask2former import image_processing_pil_mask2former as module
    return module.Mask2FormerImageProcessorPil()


def panoptic(model, cls_logits, mask_logits):
    from mmpanseg.structures.mask_logits import DenseMaskLogits
    size = (128, 160)
    return model.panoptic_fusion_head.predict(
        cls_logits, DenseMaskLogits([mask_logits]), [dict(img_shape=size, ori_shape=size,
                                                          batch_input_shape=size)], True,
        model.outputs)[0]['pred_panoptic_seg']


@torch.no_grad()
@pytest.mark.parametrize('kind', ['resnet', 'swin'])
def test_same_predictions_both_ways(kind, images, tmp_path):
    config, backbone, channels = backbones()[kind]
    reference, model_config = theirs(config), ours(backbone, channels)
    model = MODELS.build(model_config).eval()
    reference.save_pretrained(tmp_path / 'theirs')
    result = convert(read_weights(tmp_path / 'theirs'))
    assert result.source == 'huggingface'
    assert {key.rpartition('.')[0] for key in result.unused} <= {
        'criterion', 'model.pixel_level_module.encoder.swin.layernorm'}
    model.load_state_dict(result.state_dict)
    post, found_segments = processor(), 0
    for image in images:
        expected = reference(pixel_values=image)
        cls_logits, masks = model(image)
        found = type(expected)(
            class_queries_logits=cls_logits[-1],
            masks_queries_logits=torch.einsum('lbqc,bchw->lbqhw', masks.embeds,
                                              masks.features)[-1])
        for name in ('class_queries_logits', 'masks_queries_logits'):
            torch.testing.assert_close(found[name], expected[name], atol=1e-4, rtol=0)
        # the panoptic map by their rules and by ours
        maps = [post.post_process_panoptic_segmentation(
            x, threshold=0.1, overlap_mask_area_threshold=0.1, label_ids_to_fuse={3, 4, 5, 6},
            target_sizes=[(128, 160)])[0] for x in (found, expected)]
        assert torch.equal(maps[0]['segmentation'], maps[1]['segmentation'])
        segments = [[(s['id'], s['label_id']) for s in x['segments_info']] for x in maps]
        assert segments[0] == segments[1]
        results = [panoptic(model, x.class_queries_logits, x.masks_queries_logits)
                   for x in (found, expected)]
        assert torch.equal(results[0].sem_seg, results[1].sem_seg)
        found_segments += len(results[0].segments_info)
    assert found_segments

    write_huggingface(model.state_dict(), model_config, tmp_path / 'back')
    back, there = (read_weights(tmp_path / name) for name in ('back', 'theirs'))
    assert back.keys() == {key for key in there if '.swin.layernorm.' not in key}
    for key, value in back.items():
        assert torch.equal(there[key], value), key
    again = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(
        tmp_path / 'back').eval()(pixel_values=images[0])
    torch.testing.assert_close(
        again.masks_queries_logits, reference(pixel_values=images[0]).masks_queries_logits,
        atol=1e-6, rtol=0)
