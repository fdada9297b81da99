"""Both states of mmcv's operators, and the effects on other packages."""
import importlib
import logging
import subprocess
import sys
import textwrap

import mmcv
import numpy as np
import pytest
import torch
from mmcv.utils import ext_loader
from mmdet.apis import DetInferencer
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.infer import BaseInferencer
from mmengine.logging import HistoryBuffer
from mmengine.registry import TRANSFORMS
from mmengine.runner import checkpoint

from mmpanseg import compat
from mmpanseg.apis import PanopticInferencer

pytestmark = pytest.mark.ops


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', textwrap.dedent(code)],
                          capture_output=True, text=True, timeout=600)


@pytest.fixture
def placeholder(monkeypatch) -> compat.OperatorPlaceholder:
    module = compat.OperatorPlaceholder('a reason')
    monkeypatch.setitem(sys.modules, 'mmcv._ext', module)
    return module


def test_placeholder_satisfies_mmcv_and_raises_when_called(placeholder):
    extension = ext_loader.load_ext('_ext', ['nms', 'roi_align_forward'])
    with pytest.raises(compat.MissingOperatorError) as error:
        extension.roi_align_forward(torch.zeros(1), aligned_height=1)
    for part in ('`roi_align_forward` is not compiled', 'a reason', 'tools/install.sh --with-ops'):
        assert part in str(error.value)
    assert not hasattr(extension, '__file__')


def test_placeholder_counts_as_not_installed(placeholder):
    assert importlib.util.find_spec('mmcv._ext').loader is None
    assert not compat.operators_compiled()
    assert not compat.operators_compiled('cuda')
    assert mmcv.ops.info.ext_loader.load_ext(
        '_ext', ['get_compiler_version']).get_compiler_version() == 'not compiled'


def test_operator_runs_or_says_how_to_get_it():
    boxes = torch.tensor([[0., 0., 10., 10.], [0., 0., 10., 9.], [20., 20., 30., 30.]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    if compat.operators_compiled():
        _, kept = mmcv.ops.nms(boxes, scores, iou_threshold=0.5)
        assert kept.tolist() == [0, 2]
        assert sys.modules['mmcv._ext'].__file__
    else:
        with pytest.raises(compat.MissingOperatorError, match='`nms` is not compiled'):
            mmcv.ops.nms(boxes, scores, iou_threshold=0.5)


def test_pure_pytorch_forms_run():
    plane = torch.tensor([[[[0., 1.], [2., 3.]]]])
    assert mmcv.ops.point_sample(plane, torch.tensor([[[0.5, 0.5]]])).item() == 1.5
    attention = mmcv.ops.MultiScaleDeformableAttention(
        8, num_heads=2, num_levels=1, num_points=2, batch_first=True)
    attention.init_weights()
    query = torch.rand(1, 3, 8)
    out = attention(
        query, value=torch.rand(1, 4, 8), reference_points=torch.rand(1, 3, 1, 2),
        spatial_shapes=torch.tensor([[2, 2]]), level_start_index=torch.tensor([0]))
    assert out.shape == query.shape
    assert out.isfinite().all()


def test_extension_that_fails_to_load_is_named(monkeypatch, tmp_path):
    (tmp_path / '_ext.py').write_text('raise ImportError("undefined symbol: _ZN2at")')
    monkeypatch.setattr(mmcv, '__path__', [str(tmp_path), *mmcv.__path__])
    # setitem restores the entry after the test
    monkeypatch.setitem(sys.modules, 'mmcv._ext', None)
    del sys.modules['mmcv._ext']
    extension = importlib.import_module('mmcv._ext')
    with pytest.raises(compat.MissingOperatorError, match='undefined symbol: _ZN2at'):
        extension.nms()


def test_installing_again_changes_nothing():
    before = list(sys.meta_path), sys.modules['mmcv._ext'], DetInferencer.pred2dict
    compat.install()
    assert before == (list(sys.meta_path), sys.modules['mmcv._ext'], DetInferencer.pred2dict)


def test_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmdet', None)
    with pytest.raises(ImportError) as error:
        compat.check_versions()
    assert str(error.value) == (
        'mmpanseg needs mmdet >= 3.3.0: install it with `pip install "mmpanseg[onedl]"` '
        '(or `"mmpanseg[openmmlab]"` for the official packages)')


def test_old_package_says_both_versions(monkeypatch):
    monkeypatch.setattr(mmcv, '__version__', '1.7.2')
    with pytest.raises(ImportError, match=r'needs mmcv >= 2\.1\.0, but 1\.7\.2 is installed: '):
        compat.check_versions()


def test_version_of_a_package_that_is_not_imported(monkeypatch, tmp_path):
    (tmp_path / 'mmdet').mkdir()
    (tmp_path / 'mmdet/__init__.py').write_text('raise AssertionError("imported")')
    (tmp_path / 'mmdet/version.py').write_text("__version__ = '3.0.0rc1'")
    monkeypatch.delitem(sys.modules, 'mmdet')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r'needs mmdet >= 3\.3\.0, but 3\.0\.0rc1 is installed'):
        compat.check_versions()


# Finder of a machine without the packages; the library's own finder is put in front of it.
HIDDEN = '''
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in ('mmcv._ext', 'panopticapi'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Hidden())
'''


@pytest.mark.slow
def test_everything_imported_before_mmpanseg():
    """mmdet, imported earlier and without operators, works as if mmpanseg had come first."""
    done = run_python(HIDDEN + textwrap.dedent('''
        import importlib
        # onedl's mmdet puts dummies in place of some operators before it gives up; the official
        # one gives up at once
        for module in ('mmdet.apis', 'mmdet.models'):
            try:
                importlib.import_module(module)
            except ImportError:
                pass
        inferencer = sys.modules.get('mmdet.apis.det_inferencer')
        assert inferencer is None or inferencer.VOID is None
        import mmpanseg

        from mmcv.ops import MultiScaleDeformableAttention, point_sample
        from mmdet.apis import det_inferencer
        from mmdet.models.layers import msdeformattn_pixel_decoder as decoder
        from mmdet.models.layers.transformer import deformable_detr_layers as layers
        from mmdet.models.utils import point_sample as sampling
        assert decoder.MultiScaleDeformableAttention is MultiScaleDeformableAttention
        assert layers.MultiScaleDeformableAttention is MultiScaleDeformableAttention
        assert sampling.point_sample is point_sample
        assert det_inferencer.VOID == 0
        assert det_inferencer.id2rgb(70000).tolist() == [112, 17, 1]
    '''))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_import_without_operators_and_panopticapi():
    """mmpanseg first: mmdet finds what it needs, and nothing that other packages would find."""
    done = run_python(HIDDEN + textwrap.dedent('''
        import warnings
        filters = list(warnings.filters)
        import mmpanseg
        assert not {'torch', 'mmengine', 'mmcv', 'mmdet', 'numpy'} & {*sys.modules}
        from mmdet.apis import det_inferencer
        from mmdet.registry import TRANSFORMS
        from mmengine.hooks import CheckpointHook
        from mmengine.registry import FUNCTIONS
        assert det_inferencer.VOID == 0
        assert 'panopticapi' not in sys.modules
        assert 'PQ' not in CheckpointHook._default_greater_keys
        assert 'mmdet' not in FUNCTIONS.children
        assert not any('faster_coco_eval' in str(entry) for entry in warnings.filters)
        from mmpanseg.compat import operators_compiled
        assert not operators_compiled()
        assert TRANSFORMS.get('LoadPanopticAnnotations')().rgb2id.__module__.startswith('mmpanseg')
    '''))
    assert done.returncode == 0, done.stderr


def test_loading_is_replaced_once():
    """Of an mmengine of any version: its loader sees another torch.load, nobody else does."""
    load, original = checkpoint.torch.load, checkpoint.CheckpointLoader.load_checkpoint
    compat.install()
    assert (checkpoint.torch.load, checkpoint.CheckpointLoader.load_checkpoint) == (load, original)
    assert load is not torch.load and checkpoint.torch.nn is torch.nn
    assert BaseInferencer._init_model.__wrapped__.__module__ == 'mmengine.infer.infer'


def test_official_mmengine_loads_training_state(monkeypatch, tmp_path):
    """Its functions call torch.load themselves."""
    torch.save(dict(history=HistoryBuffer([0.5, 0.25], [1, 1])), tmp_path / 'a.pth')
    monkeypatch.setattr(checkpoint, '_safe_torch_load', None, raising=False)
    read = checkpoint.torch.load(str(tmp_path / 'a.pth'), map_location='cpu')
    assert read['history'].mean() == 0.375


@pytest.fixture
def no_panopticapi():
    if importlib.util.find_spec('panopticapi') is not None:
        pytest.skip('panopticapi is installed')


def test_pipelines_of_mmdet_load_panoptic_data(no_panopticapi, tmp_path):
    segments = np.array([[7, 300], [70000, 7]])
    rgb = np.stack([segments % 256, segments // 256 % 256, segments // 65536], -1)
    mmcv.imwrite(rgb[..., ::-1].astype(np.uint8), str(tmp_path / 'a.png'))
    load = TRANSFORMS.build(dict(type='mmdet.LoadPanopticAnnotations', with_bbox=False,
                                 with_label=False))
    results = load(dict(
        ori_shape=(2, 2), img_shape=(2, 2), seg_map_path=str(tmp_path / 'a.png'),
        segments_info=[dict(id=7, category=3, is_thing=True),
                       dict(id=300, category=4, is_thing=True),
                       dict(id=70000, category=5, is_thing=False)]))
    assert results['gt_seg_map'].tolist() == [[3, 4], [5, 3]]
    assert results['gt_masks'].masks.tolist() == [[[1, 0], [0, 1]], [[0, 1], [0, 0]]]


def test_mmdet_does_not_score_without_panopticapi(no_panopticapi):
    from mmdet.evaluation import CocoPanopticMetric
    from mmdet.evaluation.functional import pq_compute_single_core
    with pytest.raises(RuntimeError, match='panopticapi is not installed'):
        CocoPanopticMetric()
    with pytest.raises(RuntimeError, match='panopticapi is not installed'):
        pq_compute_single_core(0, [], '', '', {})


def test_inferencer_does_not_warn_of_mmdets_missing_registry(monkeypatch):
    messages = []
    monkeypatch.setattr('mmengine.logging.print_log', lambda text, logger=None, level=20: (
        messages.append(text) if level >= logging.WARNING else None))
    inferencer = PanopticInferencer.__new__(PanopticInferencer)
    for loader in (dict(), dict(collate_fn='pseudo_collate')):
        assert inferencer._init_collate(Config(dict(test_dataloader=loader))) is pseudo_collate
    assert not messages
