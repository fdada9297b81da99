"""The verbs train and test in this process, without a terminal."""
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmpanseg.cli import runs
from mmpanseg.cli.verbs import test as verb_test
from mmpanseg.cli.verbs import train as verb_train

from .test_app import help_program

SHORT = ['--cfg-options', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2',
         'param_scheduler.end=2']


@pytest.fixture
def run(mmpanseg_command, monkeypatch, tmp_path):
    """Runs a verb in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return mmpanseg_command


def scalars(folder: Path) -> list[dict]:
    """Lines of the newest scalars.json of a work dir."""
    path = max(folder.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for line in path.read_text().splitlines()]


def error_of(done, verb: str) -> str:
    """The one line of a mistake."""
    assert (done.status, done.out) == (1, ''), done
    assert done.err.startswith(f'mmpanseg {verb}: error: ') and done.err.count('\n') == 1
    return done.err.removeprefix(f'mmpanseg {verb}: error: ').rstrip('\n')


def test_train_then_test(run, tiny_config, tmp_path):
    """The score of the test is that of the last validation; so is that of the checkpoint alone."""
    done = run('train', tiny_config, '--work-dir', 'one', '--cfg-options', *SHORT[1:],
               'randomness.seed=0')
    assert (done.status, done.err) == (0, '')
    assert len(done.out.splitlines()) == 6 and max(map(len, done.out.splitlines())) <= 120
    validation = scalars(tmp_path / 'one')[-1]
    assert f'validation at step 2  panoptic/PQ {validation["panoptic/PQ"]:.2f}  ' in done.out
    assert done.out.splitlines()[-1] == 'checkpoint: one/iter_2.pth'

    with_config = run('test', tiny_config, 'one/iter_2.pth', '--work-dir', 'two', '--out', 'a.pkl')
    alone = run('test', 'one/iter_2.pth', '--work-dir', 'three')
    for folder, done in (('two', with_config), ('three', alone)):
        assert (done.status, done.err) == (0, '')
        path, = Path(tmp_path, folder).glob('*/*.json')
        scores = json.loads(path.read_text())
        for name, value in scores.items():
            if name.startswith('panoptic/'):
                assert value == pytest.approx(validation[name], abs=1e-4), name
        row, = (line for line in done.out.splitlines() if line.startswith('| all'))
        assert f' {scores["panoptic/PQ"]:.1f} ' in row
    assert (tmp_path / 'a.pkl').is_file()
    assert alone.out.splitlines()[0] == 'testing iter_2'
    assert list((tmp_path / 'cache/logs').glob('train-*.log'))

    more = run('train', tiny_config, '--work-dir', 'one', '--resume', *SHORT,
               'train_cfg.max_iters=3')
    assert [line.split('  ')[0] for line in more.out.splitlines() if line.startswith('step ')] == [
        'step 3/3']


@pytest.mark.parametrize('verb', ['train', 'test'])
def test_help_is_light(verb):
    done = subprocess.run([sys.executable, '-c', help_program(verb, '--help')],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = Path(__file__).parents[2] / f'tools/{verb}.py'
    tool = subprocess.run([sys.executable, str(path), '--help'], capture_output=True,
                          text=True).stdout
    options = set(re.findall(r'--[a-z-]+', tool))
    assert len(options) > 6 and options <= set(re.findall(r'--[a-z-]+', done.stdout))


@pytest.mark.parametrize(('verb', 'arguments', 'text'), [
    ('train', ['absent.py'], 'config file absent.py does not exist'),
    ('train', ['mask2former_r50_8xb2-lsj-50e_coco-panoptik'],
     'near names are mask2former_r50_8xb2-lsj-50e_coco-panoptic'),
    ('train', ['{config}', '--resume', 'absent.pth'], 'checkpoint absent.pth does not exist'),
    ('train', ['{config}', '--work-dir', '{config}/run'], 'cannot be created'),
    ('train', ['{config}', '--work-dir', '/proc/run'], 'work dir /proc/run cannot be created'),
    ('train', ['{config}', '--auto-scale-lr'], '--auto-scale-lr needs auto_scale_lr='),
    ('train', ['{config}', '--launcher', 'pytorch'], '--launcher pytorch without RANK'),
    ('train', ['{config}', '--launcher', 'pytorch', '--gpus', '2'], '--gpus starts the processes'),
    ('train', ['{config}', '--cfg-options', 'model.type=mmpanseg.MaskTransfomer'],
     'mmpanseg.MaskTransfomer is not in the'),
    ('test', ['{config}', 'absent.pth'], 'checkpoint absent.pth does not exist'),
    ('test', ['{config}', 'absent.pth', '--out', 'a.json'], 'the name must end in .pkl'),
    ('test', ['absent.py', 'absent.pth'], 'config file absent.py does not exist'),
    ('test', ['mask2former_r50_8xb2', 'absent.pth'], 'is the start of '),
    ('test', ['absent.pth'], 'absent.pth'),
    ('test', ['{config}'], 'has no weights: name a CHECKPOINT, too'),
    ('test', ['no-such-model'], 'no-such-model is no config')])
def test_mistakes(run, tiny_config, verb, arguments, text):
    done = run(verb, *(argument.format(config=tiny_config) for argument in arguments))
    assert text in error_of(done, verb)


def test_name_of_a_config(repo_root):
    name = 'mask2former_r18_1xb4-scratch-demo_scenes-panoptic'
    expected = repo_root / f'configs/mask2former/{name}.py'
    assert Path(runs.config_path(name)) == Path(runs.config_path(name[:24])) == expected


def test_options_reach_the_run(run, tiny_config, monkeypatch):
    """Those of the tools, with the same values as there."""
    calls = []

    class Runner:
        def register_hook(self, hook):
            pass

        def train(self):
            pass
        test = train

    def build(cfg, *args, **kwargs):
        calls.append((cfg, args, kwargs))
        return Runner()

    monkeypatch.setattr('mmpanseg.engine.training.build_training', build)
    monkeypatch.setattr('mmpanseg.apis.testing.build_test', build)
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.delenv('MMPANSEG_TRUST_CHECKPOINT', raising=False)
    done = run('train', tiny_config, '--amp', '--auto-scale-lr', '--resume', '--detect-anomaly',
               '--no-data-check', '--strict-meta', '--cfg-options', 'a.b=[1,2]', 'c=x')
    assert done.status == 0
    cfg, args, kwargs = calls.pop()
    assert args == ('none',) and kwargs == dict(
        resume='auto', amp=True, auto_scale_lr=True, detect_anomaly=True, data_check=False)
    assert (cfg.a.b, cfg.c, cfg.strict_meta, cfg.work_dir) == ([1, 2], 'x', True, 'work_dirs/tiny')
    (checkpoint := Path('x.pth')).write_bytes(b'PK\3\4' + bytes(100))
    monkeypatch.setattr('mmpanseg.engine.launch.check_checkpoint', lambda path, config: path)
    done = run('test', tiny_config, checkpoint, '--tta', '--show-dir', 'p', '--wait-time', '0.5',
               '--trust-checkpoint', '--launcher', 'slurm')
    assert done.status == 0
    _, args, kwargs = calls.pop()
    assert args == ('x.pth', str(tiny_config), 'slurm') and kwargs == dict(
        out=None, show=False, tta=True, show_dir='p', wait_time=0.5)


def test_processes(monkeypatch, run):
    """The command of each process is this one without the number of processes."""
    started = []
    monkeypatch.setattr('mmpanseg.engine.processes.run_processes',
                        lambda arguments, name: started.append((arguments, name(None))))
    monkeypatch.setenv('PYTHONPATH', '')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    for option in (['--gpus', '3'], ['--gpus=3'], ['--processes', '3']):
        done = run('train', 'x.py', *option, '--resume', '--cfg-options', 'a=1', 'b=2')
        assert done.status == 0, done
        arguments, name = started.pop()
        assert arguments[2] == '--nproc_per_node=3' and name == 'mmpanseg train'
        assert arguments[5:] == ['-m', 'mmpanseg', 'train', 'x.py', '--resume', '--cfg-options',
                                 'a=1', 'b=2', '--launcher', 'pytorch']
    assert run('test', 'x.py', 'y.pth', '--gpus', '0').status == 2


def test_verbs_have_the_same_options_of_a_run():
    names = [{name for parameter in verb.command.params for name in parameter.opts}
             for verb in (verb_train, verb_test)]
    assert {'--work-dir', '--cfg-options', '--trust-checkpoint', '--strict-meta', '--gpus',
            '--launcher', '--local-rank'} <= names[0] & names[1]
