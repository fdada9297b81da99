"""Ranks of a gloo group for a test, forked from the test's process: nothing is imported again."""
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist


def run_ranks(function: Callable[..., Any], world_size: int, folder: Path, *args: Any,
              timeout: float = 120) -> list[Any]:
    """Results of ``function(rank, *args)`` in each of the processes; all of them must succeed."""
    folder.mkdir(exist_ok=True)
    ranks = start_ranks(_join_group, world_size, folder, function, world_size, folder, *args)
    codes = end_ranks(ranks, timeout)
    assert codes == [0] * world_size, codes_and_output(codes, folder)
    return [torch.load(folder / f'{rank}.pt', weights_only=False) for rank in range(world_size)]


def start_ranks(function: Callable[..., Any], world_size: int, folder: Path,
                *args: Any) -> list[Any]:
    """Start ``function(rank, *args)`` in processes whose output goes to ``folder/{rank}.txt``."""
    # torch's threads of a GPU do not survive a fork; those of a CPU are not used by the children
    context = multiprocessing.get_context('spawn' if torch.cuda.is_available() else 'fork')
    ranks = [context.Process(target=_child, args=(function, rank, folder, args))
             for rank in range(world_size)]
    for process in ranks:
        process.start()
    return ranks


def end_ranks(ranks: list[Any], timeout: float) -> list[int | None]:
    """Exit status of each process; those that do not end in time are killed, and have None."""
    try:
        for process in ranks:
            process.join(timeout)
        return [process.exitcode for process in ranks]
    finally:
        for process in ranks:
            process.kill()


def codes_and_output(codes: list[int | None], folder: Path) -> str:
    return f'{codes}\n' + '\n'.join(
        f'rank {path.stem}: {path.read_text()[-3000:]}' for path in sorted(folder.glob('*.txt')))


def _child(function: Callable[..., Any], rank: int, folder: Path, args: tuple) -> None:
    torch.set_num_threads(1)
    output = os.open(folder / f'{rank}.txt', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    sys.stdout = os.fdopen(output, 'w', buffering=1)
    sys.stderr = sys.stdout
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    try:
        function(rank, *args)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code)
        os._exit(stop.code if isinstance(stop.code, int) else 1)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _join_group(rank: int, function: Callable[..., Any], world_size: int, folder: Path,
                *args: Any) -> None:
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world_size)
    torch.save(function(rank, *args), folder / f'{rank}.pt')
    dist.barrier()
    dist.destroy_process_group()
