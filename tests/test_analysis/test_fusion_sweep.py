"""Saved outputs, fused again, against the model's own results and PanopticMetric."""
import numpy as np
import pytest
import torch

from mmpanseg.analysis.fusion_sweep import (
    heads_of_table_b2,
    mask_wise,
    score_fusion_heads,
    table_b2,
    table_b3,
    table_b4,
)
from mmpanseg.analysis.raw_outputs import RawOutputs, save_raw_outputs
from mmpanseg.evaluation import PanopticDataError, PanopticMetric


@pytest.fixture
def saved(model_and_loader, tmp_path):
    cfg, model, loader = model_and_loader
    number = save_raw_outputs(model, loader, tmp_path / 'raw', cfg.model.panoptic_fusion_head)
    assert number == 4
    return RawOutputs(tmp_path / 'raw')


def test_the_model_s_own_results(model_and_loader, saved):
    cfg, model, loader = model_and_loader
    model.panoptic_head.restart()
    metric = PanopticMetric(classwise=False)
    metric.dataset_meta = model.dataset_meta
    for data in loader:
        metric.process(data, [sample.to_dict() for sample in model.test_step(data)])
    expected = metric.evaluate(len(loader))
    found = score_fusion_heads(saved, {'own': saved.fusion_head})['own']
    assert 5 < expected['panoptic/PQ'] < 95
    assert found == {key: pytest.approx(expected[f'panoptic/{key}'])
                     for key in ('PQ', 'PQ_th', 'PQ_st')}


def test_tables(saved):
    heads = heads_of_table_b2(saved, t_cnf=0.2, t_keep=0.5, stuff_area_limit=20)
    assert heads['mask-wise merging'] == dict(
        type='mmpanseg.MaskWiseFusionHead', t_cnf=0.2, t_keep=0.5)
    scores = score_fusion_heads(saved, heads)
    assert len({round(row['PQ'], 6) for row in scores.values()}) > 3
    lines = table_b2(saved, t_cnf=0.2, t_keep=0.5, stuff_area_limit=20).splitlines()
    cells = {line.split('|')[1].strip(): line.split('|')[2:5] for line in lines if '|' in line}
    for name, row in scores.items():
        assert [cell.strip() for cell in cells[name]] == [f'{x:.1f}' for x in row.values()]
    assert 'alpha' in table_b3(saved, [(1, 2)])
    grid = table_b4(saved, t_cnf=[0.2, 0.5], t_keep=[0.9, 0.5])
    one = score_fusion_heads(saved, {0: mask_wise(saved, t_cnf=0.5, t_keep=0.9)})[0]['PQ']
    row, = (line for line in grid.splitlines() if line.startswith('| 0.5'))
    assert row.split('|')[2].strip() == f'{one:.1f}'


def test_queries_without_a_class_are_left_out(model_and_loader, saved, tmp_path):
    cfg, model, loader = model_and_loader
    model.panoptic_head.restart()
    save_raw_outputs(model, loader, tmp_path / 'few', cfg.model.panoptic_fusion_head, 0.4)
    for few, all_ in zip(RawOutputs(tmp_path / 'few'), saved, strict=True):
        kept = all_.probs[:, :-1].amax(1) >= 0.4
        assert 0 < kept.sum() < len(kept) and torch.equal(few.probs, all_.probs[kept])


def test_a_run_that_broke_off_leaves_no_list_of_other_files(model_and_loader, saved):
    cfg, model, loader = model_and_loader
    model.panoptic_head.restart()

    def broken():
        yield next(iter(loader))
        raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'):
        save_raw_outputs(model, broken(), saved.folder, cfg.model.panoptic_fusion_head)
    with pytest.raises(FileNotFoundError, match='index.json does not exist'):
        RawOutputs(saved.folder)


def test_mistakes(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match='raw outputs'):
        RawOutputs(tmp_path / 'nothing')
    for sample in saved.samples:
        sample['seg_map_path'] = None
    with pytest.raises(PanopticDataError, match='validation set'):
        score_fusion_heads(saved, {'own': saved.fusion_head})


def test_half_precision_is_exact_enough(saved):
    """What is stored is what the model gave, to the last bit of a half."""
    arrays = np.load(saved.folder / '000000.npz')
    assert arrays['masks'].dtype == np.float16 and arrays['probs'].dtype == np.float32
    output = next(iter(saved))
    assert output.mask_logits.size == (12, 16)
    torch.testing.assert_close(output.probs.sum(1), torch.ones(len(output.probs)))
