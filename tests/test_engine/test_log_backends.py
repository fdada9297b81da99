"""TensorBoard and Weights & Biases: what a training writes is read from their files."""
import importlib.util
import io
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmpanseg.engine import build_runner, load_config
from mmpanseg.engine.command_line import UsageError
from mmpanseg.engine.log_backends import use_log_backends

from ..processes import run_ranks

RUN = dict(train_cfg__max_iters=4, train_cfg__val_interval=2,
           default_hooks__visualization__val_images=2)


def read_events(folder: Path):
    accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator',
        reason='tensorboard is not installed: pip install tensorboard')
    events = accumulator.EventAccumulator(str(folder), {'images': 0, 'scalars': 0, 'tensors': 0})
    events.Reload()
    return events


def steps(events) -> list[int]:
    return [event.step for event in events]


def picture(event) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(event.encoded_image_string)))


@pytest.fixture(scope='module')
def folder(tiny_config, tmp_path_factory) -> Path:
    """vis_data of a training that logs to TensorBoard."""
    pytest.importorskip('tensorboard', reason='tensorboard is not installed: '
                        'pip install tensorboard')
    cfg = load_config(str(tiny_config), {
        key.replace('__', '.'): value for key, value in RUN.items()} | dict(log_to='tensorboard'))
    cfg.custom_hooks = [dict(type='mmpanseg.ClassScoresHook', curves=True)]
    work_dir = tmp_path_factory.mktemp('tensorboard')
    cfg.work_dir, cfg.experiment_name, cfg.randomness = str(work_dir), work_dir.name, dict(seed=0)
    runner = build_runner(cfg, 'none')
    runner.train()
    return Path(runner.log_dir, 'vis_data')


def test_scalars_of_tensorboard_are_those_of_the_log(folder):
    events = read_events(folder)
    records = [json.loads(line) for line in (folder / 'scalars.json').read_text().splitlines()]
    losses = {record['step']: record['loss'] for record in records if 'iter' in record}
    scores = {record['step']: record['panoptic/PQ'] for record in records
              if 'panoptic/PQ' in record}
    assert sorted(losses) == [1, 2, 3, 4] and sorted(scores) == [2, 4]
    for name, expected in (('loss', losses), ('panoptic/PQ', scores)):
        logged = events.Scalars(name)
        assert steps(logged) == list(expected)
        np.testing.assert_allclose([event.value for event in logged], list(expected.values()),
                                   rtol=1e-6)


def test_validation_pictures_are_of_the_same_images(folder):
    events = read_events(folder)
    assert events.Tags()['images'] == ['val/000', 'val/003']  # two of six images
    for name in ('000', '003'):
        logged = events.Images(f'val/{name}')
        assert steps(logged) == [2, 4]
        assert picture(logged[0]).shape == picture(logged[1]).shape
        # the files of the other backend are the same pictures
        for event in logged:
            file = folder / 'vis_image' / f'val_{name}_{event.step}.png'
            np.testing.assert_array_equal(picture(event), np.array(Image.open(file)))
    assert len(list((folder / 'vis_image').iterdir())) == 4


def test_the_table_of_classes(folder):
    events = read_events(folder)
    logged = events.Tensors('panoptic/classes/text_summary')
    assert steps(logged) == [2, 4]
    records = [json.loads(line) for line in
               (folder / 'class_scores.json').read_text().splitlines()]
    for event, record in zip(logged, records):
        lines = event.tensor_proto.string_val[0].decode().splitlines()
        assert lines[0] == '| class | kind | PQ | SQ | RQ | TP | FP | FN |'
        assert [line.split(' | ')[0] for line in lines[2:]] == ['| ball', '| sky', '| ground']
        for line, pq, tp in zip(lines[2:], record['pq'], record['tp']):
            cells = line.strip('| ').split(' | ')
            assert cells[2] == ('-' if pq is None else f'{pq:.2f}') and cells[5] == str(tp)
    for label, name in enumerate(records[0]['classes']):
        expected = [record['pq'][label] for record in records]
        if None not in expected:
            curve = events.Scalars(f'panoptic_PQ_by_class/{name}')
            np.testing.assert_allclose([event.value for event in curve], expected, rtol=1e-5)


def test_the_log_file_keeps_its_table_and_scalars_their_names(folder):
    text, = (path.read_text() for path in folder.parent.glob('*.log'))
    assert text.count('| ball ') == 2
    assert not any('ball' in line for line in (folder / 'scalars.json').read_text().splitlines())


def _train(rank: int, world_size: int, folder: Path, config: Path) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(rank),
                      MASTER_ADDR='127.0.0.1', MASTER_PORT='1')  # of the group that exists
    cfg = load_config(str(config), {
        key.replace('__', '.'): value for key, value in RUN.items()})
    cfg.log_to, cfg.experiment_name, cfg.randomness = ['tensorboard'], f'ranks{rank}', dict(seed=0)
    cfg.work_dir = str(folder / f'run{rank}')  # nothing of rank 1 hides in the folder of rank 0
    runner = build_runner(cfg, 'pytorch')
    runner.train()


@pytest.mark.slow
def test_only_the_first_process_writes(tiny_config, tmp_path):
    pytest.importorskip('tensorboard', reason='tensorboard is not installed: '
                        'pip install tensorboard')
    folder = tmp_path / 'ranks'
    run_ranks(_train, 2, folder, 2, folder, tiny_config)
    found = {rank: [path for path in (tmp_path / f'ranks/run{rank}').rglob('*')
                    if path.name.startswith('events.') or path.suffix in ('.json', '.png')]
             for rank in (0, 1)}
    assert found[1] == []
    assert len({path.name for path in found[0]}) >= 4
    assert len([path for path in found[0] if path.name.startswith('events.')]) == 1
    # both images are among those of the first process
    assert len([path for path in found[0] if path.suffix == '.png']) == 4


@pytest.mark.parametrize(('value', 'kinds'), [
    ('tensorboard', ['LocalVisBackend', 'TensorboardVisBackend']),
    (['tensorboard', 'wandb'], ['LocalVisBackend', 'TensorboardVisBackend', 'WandbVisBackend']),
    ([], ['LocalVisBackend'])])
def test_log_to_adds_backends_once(monkeypatch, value, kinds):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name)
    cfg = Config(dict(log_to=value, work_dir='runs/one', visualizer=dict(
        vis_backends=[dict(type='LocalVisBackend')])))
    for _ in range(2):
        use_log_backends(cfg)
        assert [backend['type'] for backend in cfg.visualizer.vis_backends] == kinds


def test_wandb_stays_on_this_machine_unless_asked(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name)
    for mode, expected in ((None, 'offline'), ('online', 'online')):
        if mode:
            monkeypatch.setenv('WANDB_MODE', mode)
        cfg = Config(dict(log_to='wandb', work_dir='runs/one/'))
        use_log_backends(cfg)
        options = cfg.visualizer.vis_backends[1].init_kwargs
        assert options['mode'] == expected and options['name'] == 'one'


def test_unknown_name():
    with pytest.raises(UsageError, match="log_to='tensorbord': write 'tensorboard' or 'wandb'"):
        use_log_backends(Config(dict(log_to='tensorbord')))


@pytest.mark.parametrize('cfg', [
    dict(log_to='wandb'),
    dict(visualizer=dict(vis_backends=[dict(type='mmengine.WandbVisBackend')]))])
def test_missing_packages_give_the_pip_line(monkeypatch, cfg):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UsageError, match='WandbVisBackend .* not installed: pip install wandb$'):
        use_log_backends(Config(cfg))


def test_missing_package_ends_a_run_before_it_starts(tiny_run, monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *rest: (
        None if name == 'tensorboard' else find(name, *rest)))
    with pytest.raises(UsageError, match='pip install tensorboard'):
        tiny_run(log_to='tensorboard')
    assert not (tmp_path / 'run').exists()


def records_of(content: bytes) -> list[bytes]:
    """Records of a LevelDB log: blocks of 32 KiB, parts of records with headers of 7 bytes."""
    assert content[:4] == b':W&B'
    found, record, place = [], b'', 7
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack('<HB', content[place + 4:place + 7])
        record += content[place + 7:place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, last part
            found.append(record)
            record = b''
    return found


@pytest.mark.skipif(importlib.util.find_spec('wandb') is None,
                    reason='wandb is not installed: pip install wandb')
def test_wandb_offline(tiny_run, monkeypatch):
    """Reads the file of the run, which `wandb sync` uploads."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.delenv('WANDB_MODE', raising=False)
    runner = tiny_run(log_to='wandb', **RUN)
    runner.train()
    wandb.finish()
    file, = Path(runner.log_dir, 'vis_data').glob('wandb/offline-run-*/run-*.wandb')
    rows = []
    for data in records_of(file.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        if record.WhichOneof('record_type') == 'history':
            rows.append({item.key or '/'.join(item.nested_key): json.loads(item.value_json)
                         for item in record.history.item})
    logged = [json.loads(line) for line in
              Path(runner.log_dir, 'vis_data/scalars.json').read_text().splitlines()]
    assert [row['loss'] for row in rows if 'loss' in row] == pytest.approx(
        [record['loss'] for record in logged if 'loss' in record])
    assert [row['iter'] for row in rows if 'loss' in row] == [1, 2, 3, 4]
    scores = [(row['iter'], row['panoptic/PQ']) for row in rows if 'panoptic/PQ' in row]
    assert scores == [(record['step'], pytest.approx(record['panoptic/PQ'])) for record in logged
                      if 'panoptic/PQ' in record]
    assert sum(any(key.startswith('val/') for key in row) for row in rows) == 4
    tables = list(file.parent.glob('files/media/table/panoptic/*.json'))
    assert len(tables) == 2
    table = json.loads(tables[0].read_text())
    assert table['columns'][:3] == ['class', 'kind', 'PQ']
    assert [row[0] for row in table['data']] == ['ball', 'sky', 'ground']
