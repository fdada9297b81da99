"""--detect-anomaly: the module and the operation that make NaN."""
import pytest
import torch

from mmpanseg.engine import UsageError
from mmpanseg.engine.hooks.non_finite_hook import use_anomaly_detection
from mmpanseg.engine.step_files import read_step
from mmpanseg.engine.step_replay import replay_step


def changed(module, change):
    """Replace the forward pass of a module by one whose output goes through a function."""
    forward = module.forward
    module.forward = lambda *args, **kwargs: change(forward(*args, **kwargs))


@pytest.mark.filterwarnings('ignore:Error detected in')
def test_an_operation_of_the_backward_pass(tiny_run, log_of):
    runner = tiny_run(use_anomaly_detection)
    # finite, but the gradient of a root at 0 is 0 / 0
    changed(runner.model.panoptic_head.cls_embed, lambda x: x + (x - x).sqrt() * 0)
    with pytest.raises(UsageError) as error:
        runner.train()
    text = str(error.value)
    assert 'the backward pass of SqrtBackward0 in panoptic_head.cls_embed returned NaN' in text
    assert 'stopped in step 1, before its update' in text and '\n' not in text
    assert 'anomaly detection checks every module and operation' in log_of(runner)
    assert not torch.is_anomaly_enabled()


def test_a_module_of_the_forward_pass(tiny_run):
    """The operation that fails first in the backward pass belongs to a loss, not to the cause."""
    runner = tiny_run(use_anomaly_detection)
    changed(runner.model.backbone.layer2[0].conv2, lambda x: x / (x * 0))
    with pytest.raises(UsageError, match='first module whose output is not finite: '
                       r'backbone\.layer2\.0\.conv2;') as error:
        runner.train()
    assert 'losses not finite: loss_cls nan' in str(error.value)


@pytest.mark.slow
def test_trainings_are_the_same(tiny_run):
    weights = []
    for change in (lambda cfg: None, use_anomaly_detection):
        runner = tiny_run(change, train_cfg__max_iters=2)
        runner.train()
        weights.append(runner.model.state_dict())
        assert not torch.is_anomaly_enabled()
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], msg=name)


@pytest.mark.parametrize('hooks', [None, [dict(type='EMAHook')], [
    dict(type='mmpanseg.NonFiniteHook', action='skip', max_skips=3)]])
def test_option_keeps_other_hooks(tiny_config, hooks):
    from mmpanseg.engine import load_config

    cfg = load_config(str(tiny_config))
    if hooks is not None:
        cfg.custom_hooks = hooks
    use_anomaly_detection(cfg)
    own, = (hook for hook in cfg.custom_hooks if hook.type == 'mmpanseg.NonFiniteHook')
    assert own.detect_anomaly
    assert own.get('max_skips') == (3 if hooks and 'max_skips' in hooks[0] else None)
    assert len(cfg.custom_hooks) == (2 if hooks == [dict(type='EMAHook')] else 1)


def test_replay_names_the_operation(tiny_run, monkeypatch):
    """A step with infinite weights runs again and is searched."""
    def change(cfg):
        cfg.optim_wrapper.clip_grad = None

    runner = tiny_run(change)
    runner.model.panoptic_head.cls_embed.bias.data[0] = float('inf')
    with pytest.raises(UsageError, match='stopped in step 1'):
        runner.train()
    content = read_step(f'{runner.work_dir}/non_finite_step_1.pth')
    result = replay_step(runner.cfg.model, content, detect_anomaly=True)
    assert result.first_module == 'panoptic_head.cls_embed' and result.anomaly
