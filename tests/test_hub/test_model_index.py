"""The table of models against the files beside the configs, and against built models."""
import random
import subprocess
import sys

import pytest
import yaml

from mmpanseg.engine import UsageError
from mmpanseg.hub import find_configs, list_models
from mmpanseg.hub.config_files import config_paths


def test_every_config_is_a_model_once(repo_root):
    models = list_models()
    assert len({model.name for model in models}) == len(models)
    assert {model.config for model in models} == set(config_paths(find_configs()).values())
    assert all(model.system and model.backbone and model.task and model.dataset and
               model.parameters for model in models)


@pytest.mark.parametrize(('name', 'facts'), [
    ('mask2former_swin-b-p4-w12-384-in21k_8xb2-90k_cityscapes-instance',
     ('Mask2Former', 'instance', 'Cityscapes', 'Swin-B IN-21K', 'mask AP')),
    ('panoptic_segformer_pvtv2-b5_released-code_8xb1-24e_coco-panoptic',
     ('Panoptic SegFormer', 'panoptic', 'COCO', 'PVTv2-B5', 'PQ')),
    ('kmax_deeplab_max-s_32xb1-60k_cityscapes-panoptic',
     ('kMaX-DeepLab', 'panoptic', 'Cityscapes', 'MaX-S', 'PQ')),
    ('kmax_deeplab_convnext-l-in22k_32xb2-100k_ade20k-panoptic',
     ('kMaX-DeepLab', 'panoptic', 'ADE20K', 'ConvNeXt-L IN-22K', 'PQ')),
    ('mask2former_r50_8xb2-300k_mapillary-semantic',
     ('Mask2Former', 'semantic', 'Mapillary Vistas', 'R50', 'mIoU')),
    ('mp_former_r18_1xb4-scratch-demo_scenes-panoptic',
     ('MP-Former', 'panoptic', 'demo scenes', 'R18', None))])
def test_facts_of_a_model(name, facts):
    model, = list_models(name)
    metric = model.score and model.score[0]
    assert (model.system, model.task, model.dataset, model.backbone, metric) == facts


def test_releases(repo_root):
    models = [model for model in list_models() if model.release]
    assert len(models) == 61
    assert len({model.short_name for model in models}) == 61
    for model in models:
        release = model.release
        folder = model.config.parent.name
        assert release.short_name.startswith(folder.replace('_', '-'))
        assert release.short_name.endswith(f'-{model.task}')
        # licenses as the authors' repositories state them
        expected = 'CC-BY-NC-4.0' if folder == 'mask2former' else 'Apache-2.0'
        assert release.license == expected
        assert release.is_noncommercial == (folder == 'mask2former')
        # the model zoo says: the file names contain the first digits of the MD5
        if folder == 'mask2former':
            assert release.url.endswith(f'/model_final_{release.md5}.pkl')
            assert len(release.md5) == 6 and model.by_name == 'yes'
        assert (model.by_name == 'drive') == ('drive.google.com' in release.url) == (
            folder == 'kmax_deeplab')


@pytest.mark.parametrize(('pattern', 'count', 'part'), [
    ('swin-l coco panoptic', None, 'swin-l'), ('SWIN-L COCO', None, 'swin-l'),
    ('kmax-deeplab-*', 9, 'kmax_deeplab'), ('mask2former_r50_*_coco-panoptic', None, '_r50_'),
    ('mask2former-r50-coco-panoptic', 1, 'lsj-50e_coco-panoptic'), ('no such words', 0, '')])
def test_patterns(pattern, count, part):
    found = list_models(pattern)
    assert all(part in model.name for model in found)
    assert len(found) == count if count is not None else 1 < len(found) < 60


def test_damaged_metafile(package):
    (package.folder / 'parameters.yml').write_text('a: [')
    with pytest.raises(UsageError, match='parameters.yml cannot be read') as error:
        list_models()
    assert '\n' not in str(error.value)


def test_neither_torch_nor_mmengine_is_imported():
    code = ('import sys; from mmpanseg.hub import list_models; list_models("r50"); '
            'print({"torch", "mmengine", "mmcv", "mmdet", "numpy", "rich"} & {*sys.modules})')
    assert subprocess.run([sys.executable, '-c', code], check=True, capture_output=True,
                          text=True).stdout == 'set()\n'


def check_parameters(models):
    from mmengine.config import Config

    from mmpanseg.analysis import build_on_meta, count_parameters
    for model in models:
        network = build_on_meta(Config.fromfile(model.config).model)
        assert count_parameters(network)['total'] == model.parameters, model.name


def test_parameters_of_some_models():
    # of those that the metafiles do not list: test_metafiles.py counts the others
    listed = {entry['Name'] for path in find_configs().glob('*/metafile.yml')
              for entry in yaml.safe_load(path.read_text())['Models']}
    rest = [model for model in list_models() if model.name not in listed]
    check_parameters([next(model for model in rest if model.system == system)
                      for system in ('Mask2Former', 'kMaX-DeepLab')])


@pytest.mark.slow
def test_parameters_of_others():
    check_parameters(random.Random(0).sample(list_models(), 8))
