"""Configs hold entries of the runner alone, no variables that only the files themselves use."""
import inspect

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

RUNNER = set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}
# read beside the runner's arguments: by mmengine (imports, class of the runner, kind of batch
# norms, scaling of the learning rate, strategy) and by tools/test.py --tta
OTHERS = {'auto_scale_lr', 'custom_imports', 'runner_type', 'strategy', 'sync_bn', 'tta_model',
          'tta_scales', 'tta_flip'}
# parts that a config takes out of its base by `_base_.pop`
PARTS = {'backbones': {'backbone', 'in_channels'}, 'evaluators': {'three_tasks'},
         'models': {'released', 'v1'}, 'pipelines': {'kmax', 'train_pipeline', 'test_pipeline'}}


@pytest.mark.slow
def test_configs_of_whole_runs(repo_root):
    paths = [*repo_root.glob('configs/[a-z]*/**/*.py'), *repo_root.glob('projects/*/configs/*.py')]
    assert len(paths) > 200
    unknown = {path.stem: keys for path in paths
               if (keys := set(Config.fromfile(path)) - RUNNER - OTHERS)}
    assert not unknown


@pytest.mark.parametrize('folder', [
    '', 'backbones', 'datasets', 'evaluators', 'models', 'pipelines', 'schedules',
    'strategies'])
def test_base_configs(repo_root, folder):
    for path in (repo_root / 'configs/_base_' / folder).glob('*.py'):
        keys = set(Config.fromfile(path)) - RUNNER - OTHERS
        assert keys <= PARTS.get(folder, set()), path
