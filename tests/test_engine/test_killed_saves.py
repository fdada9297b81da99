"""A process that is killed at any file operation of a save leaves a complete checkpoint."""
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from kill_tracer import kill_at_each_operation
from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from mmpanseg.checkpoints.weight_files import read_checkpoint
from mmpanseg.engine import UsageError, build_runner, load_config
from mmpanseg.engine.checkpoint_files import incomplete_reason, latest_checkpoint
from mmpanseg.engine.hooks import SafeCheckpointHook

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')


@pytest.fixture(scope='module')
def trained(tiny_config, tmp_path_factory):
    """A run of four steps, which keeps one checkpoint and the best one."""
    torch.set_num_threads(1)
    cfg = load_config(str(tiny_config), {
        'train_cfg.val_interval': 4, 'default_hooks.checkpoint.max_keep_ckpts': 1,
        'default_hooks.checkpoint.save_best': 'panoptic/PQ',
        'default_hooks.checkpoint.published_keys': ['meta', 'state_dict'],
        'randomness': dict(seed=0), 'work_dir': str(tmp_path_factory.mktemp('killed') / 'run')})
    runner = build_runner(cfg, 'none')
    runner.train()
    runner.cfg = Config(dict(short='formatting the whole one takes a second for each save'))
    return runner


def checkpoint_hook(runner):
    hook, = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    return hook


def next_save(runner, hook):
    """The save of step 6 removes that of step 4."""
    hook._save_checkpoint_with_step(runner, 6, dict(epoch=0, iter=6))


def better(runner, hook):
    """A best checkpoint replaces another one, and the one of the step is saved again."""
    runner.train_loop._iter = 6
    hook._save_best_checkpoint(runner, {'panoptic/PQ': 1000.0})


def signaled(runner, hook):
    hook.save_now(runner, 0, 5)


def publish(runner, hook):
    hook._publish_model(runner, hook.last_ckpt)


def matrix(runner, hook, save):
    """What is there after a kill at each operation: step that is resumed, and names."""
    work_dir = Path(runner.work_dir)
    backup = work_dir.with_name('backup')
    if not backup.exists():
        shutil.copytree(work_dir, backup)

    def reset():
        shutil.rmtree(work_dir)
        shutil.copytree(backup, work_dir)
    for number, operation in kill_at_each_operation(lambda: save(runner, hook), work_dir, reset):
        try:
            latest = latest_checkpoint(str(work_dir)).path
        except UsageError:
            latest = None
        yield number, operation, latest


@pytest.mark.parametrize('save', [
    pytest.param(next_save, marks=pytest.mark.slow), pytest.param(better, marks=pytest.mark.slow),
    pytest.param(signaled, marks=pytest.mark.slow), publish])
def test_a_kill_at_each_operation(trained, save):
    hook = checkpoint_hook(trained)
    assert isinstance(hook, SafeCheckpointHook)
    rows = []
    for number, operation, latest in matrix(trained, hook, save):
        assert latest is not None, operation
        content = read_checkpoint(latest)
        step = content['meta']['iter']
        # the best checkpoint that the resumed run knows is there, or was not yet listed
        best = content['message_hub']['runtime_info'].get('best_ckpt')
        assert best is None or incomplete_reason(best) == '', operation
        assert any(incomplete_reason(path) == '' for path in
                   Path(trained.work_dir).glob('best_*.pth')), operation
        published = list(Path(trained.work_dir).glob('iter_4-*.pth'))
        assert all(incomplete_reason(path) == '' for path in published), operation
        rows.append((number, operation, step))
    steps = [step for *_, step in rows]
    assert steps == sorted(steps)
    assert steps[0] == 4
    assert steps[-1] == {next_save: 6, better: 6, signaled: 5, publish: 4}[save]
    assert rows[-1][1] == 'end' and len(rows) > 10
    names = {path.name for path in Path(trained.work_dir).iterdir()}
    assert not any(name.endswith('.partial') for name in names)
    if save is next_save:
        assert {'iter_6.pth', 'last_checkpoint'} < names and 'iter_4.pth' not in names


def test_the_tracer_finds_the_gap_of_mmengines_hook(trained, monkeypatch):
    """Which removes the old checkpoint before it writes the new one in place."""
    ours = checkpoint_hook(trained)
    plain = CheckpointHook(by_epoch=False, max_keep_ckpts=1)
    plain.before_train(trained)
    plain.keep_ckpt_ids.extend(ours.keep_ckpt_ids)
    save_checkpoint = type(trained).__mro__[1].save_checkpoint
    monkeypatch.setattr(trained, 'save_checkpoint', partial(save_checkpoint, trained))
    found = [latest for *_, latest in matrix(trained, plain, next_save)]
    assert found[-1] is not None and None in found


@pytest.mark.slow
def test_a_resumed_run_goes_on_after_each_kill(trained, tiny_run, log_of):
    """Really resumed: it reaches its end, and no partial or outdated file remains."""
    hook, work_dir = checkpoint_hook(trained), Path(trained.work_dir)
    for _, operation, latest in matrix(trained, hook, next_save):
        step = read_checkpoint(latest)['meta']['iter']
        runner = tiny_run(lambda cfg: cfg.update(work_dir=str(work_dir)),
                          resume=True, train_cfg__max_iters=8, train_cfg__val_interval=100,
                          default_hooks__checkpoint__max_keep_ckpts=1)
        runner.train()
        assert f'resumed epoch: 0, iter: {step}' in log_of(runner), operation
        names = {path.name for path in work_dir.glob('iter_*')} | {
            path.name for path in work_dir.glob('.*')}
        assert names == {'iter_8.pth', *(path.name for path in work_dir.glob('iter_4-*.pth'))}, (
            operation)
