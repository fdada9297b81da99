"""Kills trainings at random points and compares their ends with uninterrupted ones, bit by bit.

python tests/kill_matrix.py [SYSTEM ...] [--cases PROCESSES-WORKERS ...] [--kills 10] [--seed 0]

Every attempt is a process of its own that runs ``tools/train.py --resume`` and ends by SIGKILL. It
is forked from this process, which has imported everything and has no threads: an import takes
longer than such a training. A kill follows a random number of calls of the runner's hooks, which
surround loading, steps, writing and validation, and up to 20 ms later, between them.
"""
import argparse
import json
import os
import random
import runpy
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ['OMP_NUM_THREADS'] = '1'

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmpanseg.datasets.scenes.generator import write_scenes
from mmpanseg.engine import import_mmdet

ROOT = Path(__file__).resolve().parents[1]
STEPS, IMAGES, SIZE = 24, 16, (64, 96)
CASES = ['1-0', '1-2', '2-0', '2-2']  # number of processes, and of workers of each
TRIALS = 5
# what has to be equal; the rest of a checkpoint contains times
COMPARED = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers', 'random_states',
            'training_state')


def config(system: str, data: Path, num_workers: int, num_processes: int) -> Config:
    """A run of STEPS steps on SIZE images with copy-paste; systems differ in loop and schedule."""
    golden = runpy.run_path(str(ROOT / 'tests/data/golden.py'))
    model = dict(golden['model_config'](system), num_things_classes=6, num_stuff_classes=6)
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/scenes_panoptic.py')
    cfg.merge_from_dict(Config.fromfile(ROOT / 'configs/_base_/default_runtime.py').to_dict())
    loading = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap')]
    jitter = [dict(type='mmpanseg.LargeScaleJitter', size=SIZE),
              dict(type='mmpanseg.SSDColorJitter')]
    cfg.train_dataloader.dataset.update(data_root=str(data), pipeline=loading)
    cfg.train_dataloader.update(batch_size=2, num_workers=num_workers, persistent_workers=False)
    cfg.train_dataloader.dataset = dict(
        type='mmpanseg.ResamplingMixDataset', dataset=cfg.train_dataloader.dataset, pipeline=[
            *jitter, dict(type='mmpanseg.PanopticCopyPaste', size=SIZE, transforms=jitter),
            dict(type='mmpanseg.FilterLabeledPixels', min_pixels=40),
            dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)])
    cfg.val_dataloader.dataset.update(
        data_root=str(data), pipeline=[*loading, dict(type='mmpanseg.PackPanopticInputs')])
    cfg.merge_from_dict(dict(
        model=model, randomness=dict(seed=5), val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3),
                           clip_grad=dict(max_norm=0.5)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5),
            dict(type='PolyLR', power=0.9, by_epoch=False, begin=5, end=STEPS)],
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=STEPS, val_interval=8),
        default_hooks=dict(checkpoint=dict(interval=2, save_best='panoptic/PQ'),
                           logger=dict(interval=4)),
        custom_hooks=[dict(type='EMAHook', momentum=0.01),
                      dict(type='EarlyStoppingHook', monitor='panoptic/PQ', patience=9)]))
    if system == 'mask2former':
        cfg.optim_wrapper.accumulative_counts = 3  # gradients are open at two of three steps
    if system == 'mp_former':  # checkpoints in the middle of epochs
        epochs = STEPS * 2 * num_processes // IMAGES
        cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=1)
        cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    if system == 'panoptic_segformer':  # a finite sampler without epochs
        cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
        cfg.model.panoptic_head.pixel_decoder.dropout = 0.1
    return cfg


class Attempt:
    """A training in processes of their own.

    Args:
        cfg: path of the config.
        work_dir: output folder.
        num_processes: number of processes.
    """

    def __init__(self, cfg: Path, work_dir: Path, num_processes: int) -> None:
        work_dir.mkdir(exist_ok=True)
        self.output = work_dir / 'output.txt'
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        self.events, writing = os.pipe()
        options = ['--resume'] if (work_dir / 'last_checkpoint').exists() else []
        arguments = ['train.py', str(cfg), '--work-dir', str(work_dir), *options]
        self.pids = []
        for rank in range(num_processes):
            pid = os.fork()
            if not pid:
                if num_processes > 1:
                    os.environ.update(
                        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(num_processes),
                        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
                    arguments += ['--launcher', 'pytorch']
                self._train(arguments, writing if rank == 0 else None)
            self.pids.append(pid)
        os.close(writing)

    def _train(self, arguments: list[str], events: int | None) -> None:
        """Run the tool in this new process and end it."""
        status = 1
        try:
            os.setsid()
            output = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            call = Runner.call_hook

            def counted(runner: Runner, name: str, **kwargs: Any) -> None:
                os.write(events, b'.')
                call(runner, name, **kwargs)

            if events is not None:
                Runner.call_hook = counted
            sys.argv = arguments
            runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def wait(self, num_events: int | None = None, delay: float = 0) -> bool:
        """Wait for the end, or kill after a number of events and a delay in seconds.

        Returns:
            Whether the attempt was killed.

        Raises:
            RuntimeError: the training failed.
        """
        seen = 0
        while num_events is None or seen < num_events:
            read = len(os.read(self.events, 1 if num_events is not None else 1 << 16))
            seen += read
            if not read:
                break
        killed = num_events is not None and seen >= num_events
        if killed:
            time.sleep(delay)
            for pid in self.pids:
                os.killpg(pid, signal.SIGKILL)  # with the workers that load data
        statuses = [os.waitpid(pid, 0)[1] for pid in self.pids]
        os.close(self.events)
        # a kill may come after the last step
        if killed and any(statuses):
            return True
        if any(statuses):
            raise RuntimeError(f'exit statuses {statuses}: {self.output.read_text()[-3000:]}')
        return False


def last_step(work_dir: Path) -> int:
    """Step of the last checkpoint."""
    path = work_dir / 'last_checkpoint'
    return int(path.read_text().rsplit('_', 1)[1].removesuffix('.pth')) if path.exists() else 0


def kill_and_resume(cfg: Path, work_dir: Path, num_processes: int, kills: int,
                    rng: random.Random) -> list[int]:
    """Train to the end with a number of kills; return the step of the checkpoint at each."""
    steps: list[int] = []
    while len(steps) < kills:
        # half of these calls belong to steps, few enough that steps remain for the other kills
        share = max(3, (STEPS - last_step(work_dir)) // (kills - len(steps)) + 1)
        attempt = Attempt(cfg, work_dir, num_processes)
        if not attempt.wait(rng.randint(1, 6 + 4 * share), rng.uniform(0, 0.02)):
            break
        steps.append(last_step(work_dir))
    Attempt(cfg, work_dir, num_processes).wait()
    return steps


def differences(one: Any, other: Any, name: str = '') -> Iterator[str]:
    """Names of all values that differ in a bit or in their type."""
    if type(one) is not type(other):
        yield f'{name}: {type(one).__name__} and {type(other).__name__}'
    elif isinstance(one, torch.Tensor):
        if one.dtype != other.dtype or one.shape != other.shape or not torch.equal(
                one.contiguous().view(-1).view(torch.uint8),
                other.contiguous().view(-1).view(torch.uint8)):
            yield name
    elif isinstance(one, dict):
        for key in {**one, **other}:
            if key not in one or key not in other:
                yield f'{name}.{key} in one only'
            else:
                yield from differences(one[key], other[key], f'{name}.{key}')
    elif isinstance(one, (list, tuple)):
        if len(one) != len(other):
            yield f'{name}: {len(one)} and {len(other)} entries'
        for number, (left, right) in enumerate(zip(one, other)):
            yield from differences(left, right, f'{name}.{number}')
    elif one != other and not (one != one and other != other):
        yield f'{name}: {one!r} and {other!r}'


def compare_checkpoints(one: Path, other: Path) -> list[str]:
    """Differences of two checkpoints in everything that a training depends on."""
    left, right = (torch.load(path, map_location='cpu', weights_only=False)
                   for path in (one, other))
    found = []
    for key in COMPARED:
        found += differences(left.get(key), right.get(key), key)
    scores = [content['message_hub']['runtime_info'].get('best_score')
              for content in (left, right)]
    return found + list(differences(*scores, 'best_score'))


def run_matrix(systems: list[str], cases: list[str], kills: int, seed: int,
               folder: Path) -> list[dict]:
    """Cases of systems, numbers of processes and workers; prints a line for each."""
    write_scenes(folder / 'data', 'train', IMAGES, SIZE)
    write_scenes(folder / 'data', 'val', 4, SIZE)
    rows = []
    for system in systems:
        for num_processes in (1, 2):
            expected = None
            for num_workers in (0, 2):
                if f'{num_processes}-{num_workers}' not in cases:
                    continue
                name = f'{system}-{num_processes}-{num_workers}'
                path = folder / f'{name}.py'
                config(system, folder / 'data', num_workers, num_processes).dump(path)
                start = time.perf_counter()
                if expected is None:  # the same for any number of workers
                    expected = folder / f'{system}-{num_processes}-whole'
                    config(system, folder / 'data', 0, num_processes).dump(f'{expected}.py')
                    Attempt(Path(f'{expected}.py'), expected, num_processes).wait()
                rng = random.Random(f'{seed} {name}')
                steps: list[int] = []
                found: list[str] = []
                # on a busy machine a training may end before its last kill: others follow
                for trial in range(TRIALS):
                    work_dir = folder / f'{name}-{trial}'
                    steps = kill_and_resume(path, work_dir, num_processes, kills, rng)
                    found += compare_checkpoints(
                        *(work / f'iter_{STEPS}.pth' for work in (expected, work_dir)))
                    if len(steps) == kills:
                        break
                rows.append(dict(
                    system=system, processes=num_processes, workers=num_workers,
                    kills=len(steps), resumed_from=steps, differences=len(found),
                    first=found[:3], seconds=round(time.perf_counter() - start, 1)))
                print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Run the matrix; exit status 1 if a case differs or was killed less often."""
    systems = ['mask2former', 'mp_former', 'panoptic_segformer', 'kmax_deeplab']
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('systems', nargs='*', help=f'of {", ".join(systems)} (default: all)')
    parser.add_argument('--cases', nargs='+', choices=CASES, default=CASES,
                        metavar='PROCESSES-WORKERS', help=f'of {", ".join(CASES)} (default: all)')
    parser.add_argument('--kills', type=int, default=10, help='for each case')
    parser.add_argument('--seed', type=int, default=0, help='of the points of the kills')
    parser.add_argument('--folder', type=Path, required=True, help='a new folder for all files')
    args = parser.parse_args()
    torch.set_num_threads(1)
    import_mmdet()
    from repeated_work import do_once

    do_once()
    for module in ('mmpanseg.engine.launch', 'mmpanseg.engine.runner', 'mmpanseg.models.segmentors',
                   'mmpanseg.datasets', 'mmpanseg.evaluation', 'mmpanseg.visualization'):
        __import__(module)
    rows = run_matrix(args.systems or systems, args.cases, args.kills, args.seed, args.folder)
    sys.exit(any(row['differences'] or row['kills'] < args.kills for row in rows))


if __name__ == '__main__':
    main()
