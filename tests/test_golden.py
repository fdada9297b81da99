"""Checkpoints of version 0.1.0 load, and compute what they computed then."""
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.apis import init_detector
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from mmpanseg.registry import MODELS

DATA = Path(__file__).resolve().parent / 'data'
golden_models = runpy.run_path(str(DATA / 'golden.py'))
CASES, compute, model_config = (golden_models[n] for n in ('CASES', 'compute', 'model_config'))
# Outputs are computed in double precision, where processors and versions of torch differ in the
# 14th digit at most; squares in norms and divisions by small sums lose a few.
EXACT = dict(rtol=1e-7, atol=1e-9)
# Costs of boxes are float32: each sum of a thousand terms may differ in the 6th digit.
SINGLE = dict(rtol=1e-3, atol=1e-4)


def old_name(key: str) -> str:
    """Name of a parameter in version 0.1.0."""
    return key.replace('.cross_attn.center.', '.cross_attn.centre.')


def checkpoint(name: str) -> str:
    return str(DATA / f'checkpoints/{name}.pth')


def test_every_case_has_files():
    for folder in ('checkpoints/*.pth', 'golden/*.npz'):
        assert {path.stem for path in DATA.glob(folder)} == set(CASES)


@pytest.fixture(params=CASES)
def name(request) -> str:
    return request.param


def test_results_are_those_of_version_0_1(name):
    model = init_detector(
        Config(dict(model=model_config(name))), checkpoint(name), palette='random', device='cpu')
    assert model.dataset_meta['classes'] == ('car', 'person', 'road', 'sky')
    expected = np.load(DATA / f'golden/{name}.npz')
    found = compute(model)
    assert found.keys() == set(expected.files)
    for key in expected.files:
        assert found[key].dtype == expected[key].dtype, key
        if found[key].dtype.kind == 'i':
            np.testing.assert_array_equal(found[key], expected[key], key)
        else:
            tolerance = EXACT if found[key].dtype == np.float64 else SINGLE
            np.testing.assert_allclose(found[key], expected[key], err_msg=key, **tolerance)


def test_results_show_something(name):
    """A comparison of maps with one value, or of losses of zero, would prove little."""
    stored = np.load(DATA / f'golden/{name}.npz')
    assert len(np.unique(stored['panoptic'])) > 2 and len(np.unique(stored['semantic'])) > 2
    cls_logits = stored['cls_logits'][np.isfinite(stored['cls_logits'])]
    assert cls_logits.std() > 0.1 and stored['mask_logits'].std() > 0.1
    assert sum(stored[key] != 0 for key in stored.files if key.startswith('loss.')) >= 4
    assert all(stored[key] > 0 for key in stored.files if key.startswith('grad_norm.'))


def test_checkpoints_load_strictly(name):
    model = MODELS.build(model_config(name))
    stored = load_checkpoint(model, checkpoint(name), strict=True)['state_dict']
    loaded = model.state_dict()
    assert len(loaded) == len(stored)
    for key, value in loaded.items():
        expected = stored[key if key in stored else old_name(key)]
        assert torch.equal(value, expected.to(value.dtype)), key
