"""Every order of imports registers the classes of this library, each in a fresh process."""
import subprocess
import sys
import textwrap

import pytest

CONFIG = 'configs/mask2former/mask2former_r18_1xb4-scratch-demo_scenes-panoptic.py'
# Builds something of this library from mmengine's or mmdet's registries.
BUILD = '''
from mmengine.registry import MODELS
head = MODELS.build(dict(
    type='mmpanseg.PixelwiseFusionHead', num_things_classes=1, num_stuff_classes=1))
assert type(head).__module__.startswith('mmpanseg.')
'''
SOURCES = {
    'custom_imports': f'''
        from mmengine.config import Config
        cfg = Config.fromfile({CONFIG!r})
        from mmdet.registry import MODELS
        from mmengine.registry import init_default_scope
        init_default_scope(cfg.default_scope)
        cfg.model.backbone.init_cfg = None
        assert type(MODELS.build(cfg.model)).__name__ == 'MaskTransformer'
        ''',
    'mmpanseg, then init_detector': f'''
        import mmpanseg
        from mmdet.apis import init_detector
        model = init_detector({CONFIG!r}, device='cpu', cfg_options={{
            'model.backbone.init_cfg': None}})
        assert type(model).__module__.startswith('mmpanseg.')
        import numpy as np
        from mmdet.apis import DetInferencer
        from mmpanseg.datasets.transforms import LoadImageFromFile
        inferencer = DetInferencer({CONFIG!r}, device='cpu')
        assert isinstance(inferencer.pipeline.transforms[0].from_file, LoadImageFromFile)
        ''',
    'mmdet, then mmpanseg': 'import mmdet.apis\nimport mmpanseg' + BUILD,
    'mmpanseg, then mmengine': 'import mmpanseg' + BUILD,
    'mmdet.registry after mmpanseg': '''
        import mmpanseg
        from mmdet.registry import TRANSFORMS, METRICS, HOOKS, RUNNERS, VISUALIZERS
        assert TRANSFORMS.get('mmpanseg.LoadPanopticMap')
        assert METRICS.get('mmpanseg.PanopticMetric')
        assert HOOKS.get('mmpanseg.CompileHook')
        assert RUNNERS.get('mmpanseg.PanopticRunner')
        assert VISUALIZERS.get('mmpanseg.PanopticVisualizer')
        from mmengine.registry import OPTIM_WRAPPERS, OPTIM_WRAPPER_CONSTRUCTORS
        assert OPTIM_WRAPPERS.get('mmpanseg.BFloat16OptimWrapper')
        assert OPTIM_WRAPPER_CONSTRUCTORS.get('mmpanseg.ModuleTypeOptimConstructor')
        ''',
    'registry alone': '''
        from mmpanseg.registry import DATASETS, MODELS
        assert MODELS.get('PixelwiseFusionHead') and DATASETS.get('PanopticDataset')
        ''',
    'sorted': 'import mmcv, mmdet, mmengine\nimport mmpanseg' + BUILD,
    'a room': 'from mmpanseg.evaluation import PanopticMetric' + BUILD,
    'result coding': 'import mmpanseg.structures.result_coding' + BUILD,
    'attribute': 'import mmpanseg\nassert mmpanseg.datasets.PanopticDataset' + BUILD,
}


def run(code: str, tmp_path, repo_root) -> subprocess.CompletedProcess:
    path = tmp_path / 'program.py'
    path.write_text(textwrap.dedent(code))
    return subprocess.run([sys.executable, str(path)], cwd=repo_root, capture_output=True,
                          text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize('order', SOURCES)
def test_order_of_imports(repo_root, tmp_path, order):
    done = run(SOURCES[order], tmp_path, repo_root)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_workers_that_are_spawned(repo_root, tmp_path):
    """A worker unpickles a pipeline whose classes its process has not imported."""
    done = run('''
        from torch.utils.data import DataLoader

        class Images:
            def __init__(self, pipeline):
                self.pipeline = pipeline
            def __len__(self):
                return 2
            def __getitem__(self, index):
                from mmengine.registry import TRANSFORMS
                assert TRANSFORMS.get('mmpanseg.PackPanopticInputs') is type(self.pipeline)
                return index

        if __name__ == '__main__':
            import mmpanseg
            from mmdet.registry import TRANSFORMS
            pack = TRANSFORMS.build(dict(type='mmpanseg.PackPanopticInputs'))
            loader = DataLoader(Images(pack), num_workers=1, multiprocessing_context='spawn')
            assert [int(batch) for batch in loader] == [0, 1]
        ''', tmp_path, repo_root)
    assert done.returncode == 0, done.stderr


def test_import_is_light_and_silent(repo_root, tmp_path):
    done = run('''
        import sys
        import mmpanseg
        assert mmpanseg.__version__ and 'models' in dir(mmpanseg)
        heavy = {'numpy', 'torch', 'cv2', 'mmcv', 'mmdet', 'mmengine', 'mmpanseg.registry'}
        assert not heavy & {*sys.modules}
        try:
            mmpanseg.modles
        except AttributeError as error:
            assert "'modles'" in str(error)
        else:
            raise AssertionError
        ''', tmp_path, repo_root)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
