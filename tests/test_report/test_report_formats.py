"""The report of a model equals that of its saved predictions in every format."""
import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmpanseg.cli.app import main
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import DenseMaskLogits

sys.path.insert(0, str(Path(__file__).parents[1] / 'test_cli/predict'))
scenes = importlib.import_module('color_scenes')

QUIET = ['--pictures', '0']


@pytest.fixture(scope='module')
def weights(tiny_config, tmp_path_factory):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('weights') / 'tiny.pth'
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(tiny_config).model).state_dict(),
                    meta=dict(dataset_meta=scenes.META)), path)
    return path


@pytest.fixture(autouse=True)
def sees_colors(monkeypatch):
    """Predictions near the truth: the masks are a few pixels aside."""
    def predict(self, inputs, metainfos):
        logits, masks = scenes.sees_colors(self, inputs, metainfos)
        return logits, DenseMaskLogits([masks.logits[-1].roll(6, -1)])

    monkeypatch.setattr(MaskTransformer, 'predict_queries', predict)


@pytest.fixture
def all_outputs(tiny_config, tmp_path):
    """The config with instances and semantic maps."""
    path = tmp_path / 'all.py'
    path.write_text(f"""
_base_ = [{str(tiny_config)!r}]
model = dict(test_cfg=dict(instance_on=True, semantic_on=True))
""")
    return path


def run(*arguments):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.stderr
    return done


def comparable(made):
    """Figures and records without what saved predictions do not know."""
    summary = made.summary.to_json()
    for key in ('title', 'source', 'options', 'seconds', 'reasons', 'notes', 'classes'):
        del summary[key]
    summary['kinds']['gt']['missed'] += summary['kinds']['gt'].pop('lost_in_fusion')
    summary['classes'] = [(entry.name, entry.quality, entry.segments, entry.ap, entry.iou)
                          for entry in made.summary.classes]
    records = []
    for record in made.records:
        content = record.to_json()
        for entry in content['segments']:
            for key in ('query', 'reason', 'text'):
                del entry[key]
            entry['kind'] = entry['kind'].replace('lost_in_fusion', 'missed')
        records.append(content)
    return summary, records


def test_formats(report, all_outputs, tiny_config, weights, tmp_path):
    """Model, pickle, COCO, COCO of the metric, lines of JSON: one report, AP and mIoU included."""
    model = report(all_outputs, weights, *QUIET, out='model')
    assert {'panoptic/PQ', 'instance/AP', 'semantic/mIoU'} <= set(model.summary.metrics)
    assert 10 < model.summary.metrics['panoptic/PQ'] < 99
    assert model.summary.classes[0].ap is not None and model.summary.classes[1].iou is not None
    assert model.summary.reasons is not None
    expected = comparable(model)

    run('test', all_outputs, weights, '--out', 'all.pkl', '--work-dir', 'wd')
    metrics, = Path('wd').glob('*/*.json')
    for name, value in json.loads(metrics.read_text()).items():
        if name.startswith('panoptic/'):
            assert model.summary.metrics[name] == value
    found = report(all_outputs, '--predictions', 'all.pkl', *QUIET, out='pickle')
    assert comparable(found) == expected
    assert found.summary.reasons is None and found.summary.notes

    run('predict', tiny_config.parent / 'images', '--model', all_outputs, '--weights', weights,
        '--save', 'coco,json', '--out', 'results', '--device', 'cpu')
    for name in ('results', 'results/coco/panoptic.json', 'results/predictions.jsonl'):
        found = report(all_outputs, '--predictions', name, *QUIET, out='saved')
        assert comparable(found) == expected, name
    truth = tiny_config.parent / 'panoptic.json'
    found = report('--predictions', 'results', '--truth', truth, '--truth-folder',
                   truth.parent / 'panoptic', *QUIET, out='json')
    assert found.summary.metrics == pytest.approx(model.summary.metrics)

    run('test', tiny_config, weights, '--work-dir', 'wd', '--cfg-options',
        'test_evaluator.outfile_prefix=metric/result')
    found = report(tiny_config, '--predictions', 'metric/result.json', *QUIET, out='of_metric')
    assert found.summary.quality == model.summary.quality
    # the metric writes no scores
    assert not found.summary.has_scores and found.summary.calibration is None


def test_model_names_queries(report, tiny_config, weights):
    """Missed segments have a reason, and predicted ones the number of their query."""
    made = report(tiny_config, weights, *QUIET)
    assert all(entry.query is not None for record in made.records for entry in record.segments
               if entry.side == 'pred')
    made = report(tiny_config, weights, *QUIET, '--cfg-options',
                  'model.panoptic_fusion_head.object_mask_thr=0.9999')
    lost = [entry for record in made.records for entry in record.segments
            if entry.kind == 'lost_in_fusion']
    assert len(lost) > 6
    assert all('object_mask_thr' in entry.text and entry.query is not None for entry in lost)
    assert made.summary.reasons['lost_in_fusion'] == made.summary.kinds['gt']['lost_in_fusion']


@pytest.mark.parametrize('options, note', [
    (['--tta'], 'several views'),
    (['--cfg-options', 'model.test_cfg.mode=tile', 'model.test_cfg.tile=(48,48)',
     'model.test_cfg.overlap=16'], 'tiles')])
def test_predictions_without_queries(report, tiny_config, weights, options, note):
    """With tiles or augmentation there are figures and no reasons, which the report says."""
    made = report(tiny_config, weights, *QUIET, *options)
    assert made.summary.reasons is None and made.summary.num_scored == 6
    assert note in ' '.join(made.summary.notes)


def test_broken_image_of_a_model(report, tiny_config, weights, tmp_path):
    """The others are scored."""
    import shutil

    data = tmp_path / 'data'
    shutil.copytree(tiny_config.parent, data)
    (data / 'images/002.png').write_bytes(b'broken')
    made = report(tiny_config, weights, *QUIET, '--cfg-options', 'test_dataloader.batch_size=4',
                  f'test_dataloader.dataset.data_root={data}', status=1)
    assert made.summary.num_scored == 5 and made.summary.num_failed == 1
    assert made.err.startswith('002: ') and '002.png' in made.err
    whole = report(tiny_config, weights, *QUIET, out='whole')
    kept = [record for record in whole.records if record.name != '002']
    assert [record.pq for record in made.records if record.error is None] == [
        record.pq for record in kept]


def test_models_without_panoptic_output(report, tiny_config, weights):
    """The error names the option."""
    made = report(tiny_config, weights, '--cfg-options', 'model.test_cfg.panoptic_on=False',
                  'model.test_cfg.semantic_on=True', status=1)
    assert 'panoptic_on' in made.err and made.err.count('\n') == 1


def test_other_classes(report, tiny_config, weights, tmp_path):
    """Lines of JSON with a class that the ground truth lacks, and lines that are none."""
    run('predict', tiny_config.parent / 'images', '--model', tiny_config, '--weights', weights,
        '--save', 'json', '--out', 'results', '--device', 'cpu')
    path = Path('results/predictions.jsonl')
    text = path.read_text()
    path.write_text(text.replace('"sky"', '"heaven"'))
    made = report(tiny_config, '--predictions', path, status=1)
    assert "class 'heaven' is none of the ground truth" in made.err
    path.write_text(text + 'no JSON\n')
    assert 'is no result of `mmpanseg predict' in report(
        tiny_config, '--predictions', path, status=1).err
    bad = tmp_path / 'bad.pkl'
    bad.write_bytes(b'no pickle')
    assert 'bad.pkl' in report(tiny_config, '--predictions', bad, status=1).err
