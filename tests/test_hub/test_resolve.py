"""What names a model: configs, checkpoints, folders of transformers; and what does not."""
import json
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmpanseg.checkpoints.weight_files import read_checkpoint
from mmpanseg.engine import UsageError, load_config
from mmpanseg.hub import find_configs, resolve_model
from mmpanseg.registry import MODELS

R50 = 'mask2former_r50_8xb2-lsj-50e_coco-panoptic'


def test_configs_of_the_library():
    path = find_configs() / f'mask2former/{R50}.py'
    expected = load_config(str(path))
    for name in (R50, f'{R50}.py', 'mask2former_r50_8xb2-lsj-50e_coco-pan', str(path), path):
        found = resolve_model(name)
        assert found.name == R50 and found.weights is None and found.license is None
        assert found.cfg.model == expected.model
        assert found.published == 'mask2former-r50-coco-panoptic'


def test_a_config_object_and_a_config_elsewhere(tiny_config):
    cfg = load_config(str(tiny_config))
    found = resolve_model(cfg)
    assert found.cfg is cfg and found.name == tiny_config.stem and found.published is None
    assert resolve_model(Config(dict(model=dict()))).name == 'model'
    assert resolve_model(tiny_config).cfg.model == cfg.model


@pytest.mark.parametrize(('name', 'text'), [
    ('mask2former_r50_8xb2-lsj', r'is the start of 3 names: .*; write more of one'),
    ('mask2former_r50_8xb2-lsj-50e_coco-pantopic', f'near names are .*{R50}'),
    ('mask2former-r50-coco-panopticc', 'near names are mask2former-r50-coco-panoptic'),
    ('nothing/like/this', 'nothing/like/this does not exist'),
    ('missing.pth', 'checkpoint missing.pth does not exist'),
    ('missing.safetensors', 'checkpoint missing.safetensors does not exist'),
    (' ', 'the model has no name')])
def test_unknown_names(name, text):
    with pytest.raises(UsageError, match=text) as error:
        resolve_model(name)
    assert '\n' not in str(error.value)


def test_folder_with_the_name_of_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(R50).mkdir()
    assert resolve_model(R50).name == R50
    Path('other').mkdir()
    with pytest.raises(UsageError, match='other is a folder without config.json'):
        resolve_model('other')
    Path('notes.txt').write_text('')
    with pytest.raises(UsageError, match='notes.txt is no config'):
        resolve_model('notes.txt')


def save(path, meta, tiny):
    torch.save(dict(meta=meta, state_dict=tiny.weights), path)
    return path


def test_checkpoint_with_its_config(tmp_path, tiny, tiny_config):
    cfg = load_config(str(tiny_config))
    path = save(tmp_path / 'epoch_3.pth', dict(cfg=cfg.pretty_text), tiny)
    found = resolve_model(path)
    assert (found.name, found.weights) == ('epoch_3', str(path))
    assert found.cfg.model == cfg.model


def test_published_checkpoint_with_its_config(tmp_path, tiny, tiny_config):
    """The form of publish_model.py --format safetensors."""
    from mmpanseg.checkpoints.safetensors_files import write_safetensors

    cfg = load_config(str(tiny_config))
    path = tmp_path / 'own.safetensors'
    write_safetensors(tiny.weights, path, dict(cfg=cfg.pretty_text))
    found = resolve_model(str(path))
    assert (found.name, found.weights) == ('own', str(path)) and found.cfg.model == cfg.model


@pytest.mark.parametrize(('meta', 'text'), [
    ({}, 'it contains no config: name a config or a short name as model, and the file as weights '),
    (dict(cfg='import os\nos.system("touch x")'),
     r'is no literal data \(line 1: import os\): name a config or a short name .*--weights'),
    (dict(cfg='a = 1'), 'the config in it has no model'),
    (dict(cfg='model = dict(type="mmpanseg.MaskTransformer")'), 'has no model.panoptic_head')])
def test_checkpoints_without_a_usable_config(tmp_path, tiny, meta, text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / 'x.pth', meta, tiny)
    with pytest.raises(UsageError, match=text) as error:
        resolve_model(path)
    assert '\n' not in str(error.value) and str(path) in str(error.value)
    assert not (tmp_path / 'x').exists()


def test_files_that_are_no_checkpoints(tmp_path, tiny):
    (tmp_path / 'x.pkl').write_bytes(tiny.published)
    with pytest.raises(UsageError, match='x.pkl is a file of another code base, without a config: '
                       'name a config or a short name'):
        resolve_model(tmp_path / 'x.pkl')
    (tmp_path / 'x.pth').write_text('<html>')
    with pytest.raises(UsageError, match='x.pth.*not a checkpoint'):
        resolve_model(tmp_path / 'x.pth')
    with pytest.raises(UsageError, match='x.pth is not a checkpoint, or not all of one: it is'):
        resolve_model(R50, tmp_path / 'x.pth')
    with pytest.raises(UsageError, match='checkpoint .*y.pth does not exist'):
        resolve_model(R50, tmp_path / 'y.pth')


def test_weights_of_another_code_base_are_converted(tmp_path, tiny, cache):
    config = tmp_path / 'tiny.py'
    config.write_text(tiny.config.replace("'../_base_", f"'{find_configs()}/_base_"))
    arrays = {name: torch.from_numpy(value)
              for name, value in pickle.loads(tiny.published)['model'].items()}
    torch.save(dict(model=arrays), tmp_path / 'theirs.pth')
    (tmp_path / 'theirs.pkl').write_bytes(tiny.published)
    for name in ('theirs.pth', 'theirs.pkl'):
        found = resolve_model(config, tmp_path / name)
        assert Path(found.weights).parent == cache / 'converted'
        weights = read_checkpoint(found.weights)['state_dict']
        assert all(torch.equal(weights[key], value) for key, value in tiny.weights.items())
        before = Path(found.weights).stat().st_mtime_ns
        assert resolve_model(config, tmp_path / name).weights == found.weights
        assert Path(found.weights).stat().st_mtime_ns == before
    own = save(tmp_path / 'own.pth', {}, tiny)
    assert resolve_model(config, own).weights == str(own)
    with pytest.raises(UsageError, match=r'theirs.pkl: the checkpoint is not one of this config'):
        resolve_model(R50, tmp_path / 'theirs.pkl')


_HEAD = 'panoptic_head.transformer_decoder.layers.0'


@pytest.mark.parametrize(('names', 'foreign'), [
    (['backbone.a', 'panoptic_head.query_feat.weight', f'{_HEAD}.cross_attn.a'], False),
    (['backbone.a', 'panoptic_head.query_feat.weight', f'{_HEAD}.attentions.0.a'], True),
    (['some.other.model'], False),
    (['sem_seg_head.predictor.query_feat.weight', 'sem_seg_head.predictor.query_embed.weight'],
     True),
    (['sem_seg_head.predictor.label_enc.weight'], True),
    (['sem_seg_head.predictor._cluster_centers.weight'], True),
    (['model.pixel_level_module.a', 'model.transformer_module.a'], True),
    (['bbox_head.transformer.level_embeds', 'bbox_head.stuff_query.weight',
      'bbox_head.transformer.encoder.layers.0.attentions.0.a'], True)])
def test_which_files_need_a_conversion(tmp_path, names, foreign):
    from mmpanseg.checkpoints.safetensors_files import write_safetensors
    from mmpanseg.hub.conversion import is_foreign

    weights = {name: torch.zeros(2) for name in names}
    torch.save(dict(state_dict=weights), tmp_path / 'new.pth')
    torch.save(dict(state_dict=weights), tmp_path / 'old.pth',
               _use_new_zipfile_serialization=False)
    write_safetensors(weights, tmp_path / 'x.safetensors')
    for name in ('new.pth', 'old.pth', 'x.safetensors'):
        assert is_foreign(tmp_path / name) == foreign, name


# --- folders of transformers ---------------------------------------------------------------------

def write_folder(folder, config, **changes):
    folder.mkdir(exist_ok=True)
    (folder / 'config.json').write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(('changes', 'text'), [
    (dict(model_type='maskformer'), "model_type='maskformer': only mask2former can be read"),
    (dict(backbone_config=dict(model_type='dinat')), "'dinat': only swin and resnet can be read"),
    (dict(pre_norm=True), 'pre_norm=True cannot be expressed here, only False'),
    (dict(backbone_config=dict(model_type='resnet', depths=[1, 1, 1, 1])), 'only ResNets with 50'),
    (dict(backbone_config=dict(model_type='swin', patch_size=2)),
     'backbone_config.patch_size=2 cannot be expressed here'),
    (dict(id2label={'0': 'cat', '1': 'dog'}), r'its 2 classes \(cat, dog, ...\) are those of no '
     'data set known here'),
    (dict(id2label={'1': 'cat'}), 'id2label has no name for each label')])
def test_folders_of_other_models(tmp_path, changes, text):
    write_folder(tmp_path / 'folder', dict(model_type='mask2former'), **changes)
    with pytest.raises(UsageError, match=text) as error:
        resolve_model(tmp_path / 'folder')
    assert '\n' not in str(error.value) and 'config.json' in str(error.value)


def test_damaged_config_of_a_folder(tmp_path):
    (tmp_path / 'config.json').write_text('{')
    with pytest.raises(UsageError, match='config.json cannot be read'):
        resolve_model(tmp_path)
    (tmp_path / 'config.json').write_text('[]')
    with pytest.raises(UsageError, match='config.json is no JSON object'):
        resolve_model(tmp_path)


@pytest.mark.parametrize(('count', 'folder', 'name'), [
    (133, 'm', 'swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic'),
    (80, 'm', 'swin-t-p4-w7-224_8xb2-lsj-50e_coco-instance')])
def test_config_of_a_data_set(tmp_path, count, folder, name):
    from mmpanseg.datasets.coco import CocoPanopticDataset
    from mmpanseg.hub.transformers_folder import folder_config

    names = CocoPanopticDataset.METAINFO['classes'][:count]
    write_folder(tmp_path / folder, dict(model_type='mask2former'),
                 id2label=dict(enumerate(names)))
    found = folder_config(tmp_path / folder)
    expected = load_config(str(find_configs() / f'mask2former/mask2former_{name}.py'))
    assert Path(found.filename).stem == f'mask2former_{name}'
    assert found.model.num_things_classes == expected.model.num_things_classes == 80
    assert found.model.num_stuff_classes == expected.model.num_stuff_classes == count - 80
    swin, ours = found.model.backbone, expected.model.backbone
    for key in ('type', 'embed_dims', 'depths', 'num_heads', 'window_size'):
        assert swin[key] == ours[key] or list(swin[key]) == ours[key], key
    assert found.model.get('test_cfg') == expected.model.get('test_cfg')


@pytest.mark.parametrize(('title', 'task'), [('ade-panoptic', 'panoptic'),
                                             ('ade-semantic', 'semantic')])
def test_semantic_models_are_told_by_their_names(tmp_path, title, task):
    from mmpanseg.datasets.ade20k import ADE20KPanopticDataset
    from mmpanseg.hub.transformers_folder import folder_config

    names = ADE20KPanopticDataset.METAINFO['classes']
    write_folder(tmp_path / title, dict(model_type='mask2former'),
                 id2label=dict(enumerate(sorted(names))), num_queries=17)
    found = folder_config(tmp_path / title)
    assert Path(found.filename).stem.endswith(f'ade20k-{task}')
    assert found.model.panoptic_head.num_queries == 17


@pytest.mark.parametrize('kind', ['resnet', 'swin'])
def test_folder_that_transformers_wrote(tmp_path, kind, train_ids):
    transformers = pytest.importorskip('transformers', reason='transformers is not installed')
    from mmpanseg.datasets.cityscapes import CityscapesPanopticDataset

    stages = ['stage1', 'stage2', 'stage3', 'stage4']
    backbone = (transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[16, 32, 64, 128], depths=[3, 4, 6, 3],
        layer_type='bottleneck', out_features=stages) if kind == 'resnet' else
        transformers.SwinConfig(embed_dim=16, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8],
                                window_size=5, out_features=stages))
    torch.manual_seed(0)
    model = transformers.Mask2FormerForUniversalSegmentation(transformers.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_feedforward_dim=48, encoder_layers=2, decoder_layers=4, num_attention_heads=4,
        dim_feedforward=40, num_queries=7, num_labels=len(train_ids),
        id2label=dict(enumerate(train_ids)))).eval()
    model.save_pretrained(tmp_path / 'theirs')
    (tmp_path / 'theirs/preprocessor_config.json').write_text(json.dumps(
        dict(image_mean=[0.5] * 3, image_std=[0.25] * 3, size=dict(height=384, width=384))))
    found = resolve_model(tmp_path / 'theirs')
    assert found.name == 'theirs' and found.cfg.model.num_things_classes == 8
    assert found.cfg.model.data_preprocessor.mean == [127.5] * 3
    content = read_checkpoint(found.weights)
    classes = CityscapesPanopticDataset.METAINFO['classes']
    assert content['meta']['dataset_meta']['classes'] == classes
    rows, theirs = content['state_dict']['panoptic_head.cls_embed.weight'], model.class_predictor
    for row, name in enumerate(classes):
        assert torch.equal(rows[row], theirs.weight[train_ids.index(name)])
    # settings without tensors, such as numbers of heads, show in the outputs
    ours = MODELS.build(found.cfg.model).eval()
    ours.load_state_dict(content['state_dict'], strict=True)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = model(pixel_values=image).masks_queries_logits
        _, masks = ours(image)
        logits = torch.einsum('lbqc,bchw->lbqhw', masks.embeds, masks.features)[-1]
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_folder_that_this_library_wrote(tmp_path):
    from mmpanseg.checkpoints import write_huggingface

    cfg = load_config(str(find_configs()
                          / 'mask2former/mask2former_r50_1xb2-finetune-5k_custom-panoptic.py'))
    cfg.model.update(num_things_classes=1, num_stuff_classes=2)
    cfg.model.backbone.update(base_channels=4, stem_channels=8, init_cfg=None)
    cfg.model.panoptic_head.update(in_channels=[16, 32, 64, 128], channels=32, out_channels=32,
                                   num_queries=9)
    cfg.model.panoptic_head.pixel_decoder.update(num_layers=1, num_heads=4,
                                                 feedforward_channels=16)
    cfg.model.panoptic_head.transformer_decoder.update(num_layers=2, num_heads=4,
                                                       feedforward_channels=16)
    weights = MODELS.build(cfg.model).state_dict()
    pipeline = [dict(type='LoadImageFromFile'),
                dict(type='Resize', scale=(400, 300), keep_ratio=True),
                dict(type='mmpanseg.PackPanopticInputs')]
    write_huggingface(weights, cfg.model, tmp_path / 'own', ('ball', 'sky', 'grass'), pipeline)
    found = resolve_model(tmp_path / 'own')
    from mmpanseg.datasets.metainfo import config_metainfo
    assert config_metainfo(found.cfg)['classes'] == ('ball', 'sky', 'grass')
    assert (found.cfg.model.num_things_classes, found.cfg.model.num_stuff_classes) == (1, 2)
    resize, = (step for step in found.cfg.test_dataloader.dataset.pipeline
               if step['type'] == 'Resize')
    assert resize['scale'] == (400, 300)
    converted = read_checkpoint(found.weights)['state_dict']
    assert all(torch.equal(converted[key], value) for key, value in weights.items()
               if 'query_embed' not in key)
