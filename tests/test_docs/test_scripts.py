"""The Python examples of the documentation run, with a small model and made-up files."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from blocks import blocks_of
from click.testing import CliRunner
from mmdet.structures import DetDataSample
from mmengine.config import Config

from mmpanseg.cli.app import main
from mmpanseg.models.inference.full_size_masks import MASK_ACTIVATIONS
from mmpanseg.registry import MODELS
from mmpanseg.results import Result
from mmpanseg.structures import SegmentMap


@pytest.fixture
def space(tmp_path, tiny_config, monkeypatch):
    """Names that the examples take from their surroundings, in a folder with their files."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(tiny_config).model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(
        classes=('ball', 'sky', 'ground'), thing_classes=('ball', ),
        stuff_classes=('sky', 'ground')))), 'small.pth')
    (tmp_path / 'photos').mkdir()
    picture = np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8)
    for name in ('photo.jpg', 'photos/1.jpg', 'photos/2.jpg'):
        cv2.imwrite(name, picture)
    return dict(CONFIG=str(tiny_config), CKPT='small.pth', model=model, image=picture[..., ::-1],
                pan_map=np.ones((64, 96), np.int32))


EXTEND = 'docs/extend.md'


def run(word, space):
    """Execute the one example that has the word in it; its variables."""
    block, = (block for block in blocks_of('script')
              if word in block.text and (block.page == EXTEND) == (word in EXTENSIONS))
    exec(compile(block.text, str(block), 'exec'), space)
    return space


# word -> the test that runs the example
EXAMPLES = ('inferencer.stream', 'print(len(result', 'inference_detector', 'draw_panoptic',
            'pq_compute', 'read_weights', 'segment.box', "channel_order='bgr'",
            'predictor.stream', 'score_thr=(0.3', 'predictor.logits', 'overlap=16',
            'Result.from_dict', "result.filter('person'", "result['person'][0]",
            'Count the images', 'BrowseOptions(', 'run_doctor', 'read_run(', "style='mask'",
            'least_difference', 'result.compare', 'read_records',
            'write_explanation', 'recording(')
EXTENSIONS = ('ClassThresholdFusionHead', 'ConvPyramid', 'SumPixelDecoder', 'PresenceHead',
              'MeadowDataset', 'Count the segments')


def test_every_example_is_run():
    left = [str(b) for b in blocks_of('script') if not any(
        word in b.text for word in (EXTENSIONS if b.page == EXTEND else EXAMPLES))]
    assert not left, f'add a test for {left}'


def test_inferencer(space, tmp_path, capsys):
    found = run('inferencer.stream', space)['prediction']
    assert found['panoptic_seg'].shape == (64, 96) and found['panoptic_seg'].dtype == np.int32
    ids = {segment['id'] for segment in found['segments_info']}
    assert ids == set(np.unique(found['panoptic_seg'])) - {0} and ids
    assert {s['class_name'] for s in found['segments_info']} <= {'ball', 'sky', 'ground'}
    printed = [line.split()[:3] for line in capsys.readouterr().out.splitlines()]
    for segment in found['segments_info']:
        assert [str(segment[k]) for k in ('id', 'class_name', 'isthing')] in printed
    assert len(list((tmp_path / 'results/vis').iterdir())) == 2
    assert len(list((tmp_path / 'results/preds').rglob('*.png'))) == 2


def test_styles_of_pictures(space, tmp_path):
    found = run("style='mask'", space)
    assert found['mask'].shape == (64, 96, 3) and found['layer'].shape[2] == 4
    assert cv2.imread(str(tmp_path / 'layer.png'), cv2.IMREAD_UNCHANGED).shape[2] == 4


def test_differences_of_colors(space):
    found = run('least_difference', space)
    assert len(found['found']) == 4 and min(found['found'].values()) > 10
    assert found['seen'].shape == (64, 96, 3)


def test_pictures_beside_the_truth(space, tmp_path):
    picture = run('result.compare', space)['picture']
    assert picture.shape[1] > 2 * 800 and (tmp_path / 'compared.png').is_file()


def test_doctor(space, capsys):
    report = run('run_doctor', space)['report']
    found = capsys.readouterr().out.splitlines()
    assert found[-1] == f'{report.counts} 0' and len(found) == len(report.problems) + 1
    assert {problem.check for problem in report.problems} <= {'PAN404', 'PAN406'}
    assert report.sources[0]['images'] > 0


def test_curves(space, capsys):
    folder = Path('work_dirs/mask2former_r50_8xb2-lsj-50e_coco-panoptic/20260101_000000/vis_data')
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text(
        '{"loss": 2.5, "time": 1.0, "iter": 50, "step": 50}\n'
        '{"panoptic/PQ": 12.5, "time": 1.0, "step": 50}\n')
    found = run('read_run(', space)
    assert found['losses'].tolist() == [2.5] and capsys.readouterr().out == '12.5 50\n'


def test_first_prediction(space, capsys):
    found = run('print(len(result', space)['result']
    assert capsys.readouterr().out.split()[-2:] == [str(len(found['segments_info'])), 'segments']
    assert found['panoptic_seg'].max() == len(found['segments_info'])


def test_functions_of_mmdet(space):
    sample = run('inference_detector', space)['sample']
    values = set(sample.pred_panoptic_seg.sem_seg.unique().tolist())
    listed = {info['id'] for info in sample.pred_panoptic_seg.metainfo['segments_info']}
    assert sample.pred_panoptic_seg.sem_seg.shape == (1, 64, 96)
    assert values - {3} == listed


def test_predictor(space, capsys):
    """The examples of docs/predict_python.md, one after the other."""
    result = run('segment.box', space)['result']
    listed = capsys.readouterr().out.splitlines()[-len(result):]
    assert [line.split()[:2] for line in listed] == [[str(s.id), s.name] for s in result]
    of_opencv = run("channel_order='bgr'", space)['result']
    np.testing.assert_array_equal(of_opencv.panoptic_map, result.panoptic_map)
    run('predictor.stream', space)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-2:]] == [
        'photos/1.jpg', 'photos/2.jpg']
    assert {s.name for s in run('score_thr=(0.3', space)['result']} <= {'ball', 'sky'}
    run('predictor.logits', space)
    counts = [int(line.split()[1]) for line in capsys.readouterr().out.splitlines()[-4:]]
    assert counts == sorted(counts, reverse=True)
    assert run('overlap=16', space)['result'].size == (64, 96)


def test_lines_of_the_command(space, tmp_path, capsys):
    (tmp_path / 'results').mkdir()
    with open('results/predictions.jsonl', 'w') as file:
        for name in ('a.jpg', 'b.jpg'):
            result = Result((4, 6), ('ball', 'sky'), 1, file_name=name,
                            semantic=np.ones((4, 6), int))
            file.write(json.dumps(result.to_dict()) + '\n')
    run('Result.from_dict', space)
    assert capsys.readouterr().out.splitlines() == ['a.jpg sky', 'b.jpg sky']


def test_browsing(space, tmp_path, capsys):
    done = run('BrowseOptions(', space)['done']
    sizes = [int(line.split()[1]) for line in capsys.readouterr().out.splitlines()[-3:]]
    assert sizes == sorted(sizes) and len(done.cards) == 3
    assert (tmp_path / 'look/index.html').is_file()


def test_drawing(space):
    picture = run('draw_panoptic', space)['picture']
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert min(picture.shape[:2]) >= 64


def test_scoring_of_files(space, tmp_path):
    ids = np.zeros((64, 96), np.uint8)
    ids[:32], ids[32:] = 1, 2
    for name, top in (('panoptic_val2017', 32), ('predictions', 24)):
        (tmp_path / name).mkdir()
        drawn = np.where(np.arange(64)[:, None] < top, 1, 2) + 0 * ids
        cv2.imwrite(str(tmp_path / name / '1.png'),
                    np.dstack([0 * ids, 0 * ids, drawn.astype(np.uint8)]))
        (tmp_path / f'{name}.json').write_text(json.dumps(dict(
            images=[dict(id=1, file_name='1.jpg', height=64, width=96)],
            categories=[dict(id=1, name='a', isthing=1), dict(id=2, name='b', isthing=0)],
            annotations=[dict(image_id=1, file_name='1.png', segments_info=[
                dict(id=k, category_id=k, iscrowd=0, area=int((drawn == k).sum()))
                for k in (1, 2)])])))
    results = run('pq_compute', space)['results']
    # 24 of 32 rows, and 32 of 40
    assert results['All']['pq'] == pytest.approx((24 / 32 + 32 / 40) / 2)
    assert results['Boundary']['All']['pq'] < results['All']['pq']
    assert results['Large']['per_class'] is not None


def test_results(space, tmp_path, capsys):
    made = run("result['person'][0]", space)
    assert made['mask'].sum() == 280 * 150 and len(made['polygons']) == 1
    result = made['result']
    result.image = np.zeros((480, 640, 3), np.uint8)
    again = run("result.filter('person'", dict(space, result=result))['again']
    assert capsys.readouterr().out.startswith('1 person, road')
    assert again.to_dict() == result.filter('person').to_dict()
    assert (tmp_path / 'people.png').is_file()


def test_conversion(space, published, tmp_path):
    """With the file that the example names, here of the release's names and shapes."""
    from test_commands import ROOT

    from mmpanseg.analysis import build_on_meta
    config = Config.fromfile(
        ROOT / 'configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py')
    manifest = published('mask2former/manifest_coco_panoptic_R50.json')
    torch.save(dict(model={key: torch.zeros(value.shape) for key, value in manifest.items()}),
               'model_final_94dc52.pkl')
    model = build_on_meta(config.model)
    model.to_empty(device='cpu')
    result = run('read_weights', dict(space, model=model))['result']
    assert result.state_dict.keys() == model.state_dict().keys()
    assert all(value.eq(0).all() for value in model.parameters())


@pytest.fixture
def own_classes():
    """The registries forget the classes of the examples afterwards."""
    from mmpanseg.registry import DATASETS
    before = {registry: dict(registry.module_dict) for registry in (MODELS, DATASETS)}
    yield
    for registry, modules in before.items():
        registry._module_dict.clear()
        registry._module_dict.update(modules)


def test_own_parts_make_a_model(space, own_classes):
    """All model parts of the page in one model: it learns, it predicts, the threshold applies."""
    for word in EXTENSIONS[:4]:
        run(word, {})
    cfg = Config.fromfile(space['CONFIG'])
    cfg.merge_from_dict(dict(model=dict(
        backbone=dict(_delete_=True, type='mmpanseg.ConvPyramid', widths=(4, 8, 16, 32)),
        panoptic_head=dict(
            type='mmpanseg.PresenceHead', in_channels=[4, 8, 16, 32], presence_weight=3.0,
            pixel_decoder=dict(_delete_=True, type='mmpanseg.SumPixelDecoder')))))
    cfg.model.panoptic_fusion_head = dict(
        type='mmpanseg.ClassThresholdFusionHead', class_thr=[0.0, 0.0, 2.0])
    fusion = cfg.model.panoptic_fusion_head
    model = MODELS.build(cfg.model)
    model.init_weights()
    labels = torch.tensor([0, 2])
    index = torch.zeros(64, 64, dtype=torch.int32)
    index[32:] = 1
    sample = DetDataSample(gt_segments=SegmentMap(labels, index), metainfo=dict(
        img_shape=(64, 64), ori_shape=(64, 64), batch_input_shape=(64, 64), pad_shape=(64, 64)))
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    losses = model.loss(images, [sample])
    features = model.backbone(images)
    logits = model.panoptic_head.presence(features[-1].mean((2, 3)))[0]
    expected = -(logits[labels].sigmoid().log().sum() + (-logits[1]).sigmoid().log()) / 3
    torch.testing.assert_close(losses['loss_presence'], 3 * expected)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.panoptic_head.pixel_decoder.parameters())
    # class 2 needs a score above 1
    scores, of = torch.tensor([0.99, 0.98]), torch.tensor([0, 2])
    masks = FixedMasks(torch.stack([index == 0, index == 1]).float() * 20 - 10)
    head = MODELS.build(dict(fusion, num_things_classes=1, num_stuff_classes=2))
    found = head.panoptic(scores, of, masks)
    assert [info['label'] for info in found.metainfo['segments_info']] == [0]
    assert found.sem_seg[0, 0, 0] == 1000 and found.sem_seg[0, 40, 0] == 3


class FixedMasks:
    """Mask logits [Q, H, W] that are there."""

    def __init__(self, logits):
        self.logits, self.size = logits, tuple(logits.shape[1:])
        self.activation = MASK_ACTIVATIONS['sigmoid']

    def chunks(self, queries):
        yield self.logits[queries]

    def max_probs(self, queries):
        return self.logits[queries].flatten(1).amax(1).sigmoid()


def test_own_data_set(own_classes):
    built = run('MeadowDataset', {})['MeadowDataset'](lazy_init=True)
    assert built.metainfo['thing_classes'] == ('cow', 'sheep')
    assert built.metainfo['stuff_classes'] == ('grass', 'sky')


def test_own_command(space, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['count.py', space['CONFIG'], space['CKPT'], 'photos'])
    run('Count the segments', dict(__name__='__main__'))
    counts = capsys.readouterr().out.splitlines()[-2:]
    assert all(0 <= int(count) <= 3 for count in counts)


def test_verb(space, tmp_path):
    command = run('Count the images', space)['command']
    (tmp_path / 'scenes.json').write_text(json.dumps(dict(images=[{}, {}])))
    done = CliRunner().invoke(command, ['scenes.json'], env=dict(MMPANSEG_CACHE='cache'))
    assert (done.exit_code, done.output) == (0, '2\n')


def test_explain(space, tmp_path):
    found = run('write_explanation', space)
    assert len(found['found'].explained) and (tmp_path / 'explained/index.html').is_file()
    layers = run('recording(', found)['layers']
    decoder = space['model'].panoptic_head.transformer_decoder
    assert len(layers) == len(decoder.layers) + 1


def test_report_files(space, tmp_path, tiny_config):
    """The segments without a match are those that the report counts."""
    done = CliRunner().invoke(main, ['report', space['CONFIG'], space['CKPT'], '--pictures', '0',
                                     '--out', 'report/my_config'], env=dict(MMPANSEG_CACHE='cache'))
    assert done.exit_code == 0, done.stderr
    found = run('read_records', space)
    assert len(found['missed']) == found['record'].fn
