"""Start of several processes on this machine, with one line if one of them fails.

This module imports neither torch nor mmengine at its top, see :mod:`.command_line`.
"""
import logging
import os
import socket
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from mmpanseg.engine.process_errors import FOLDER, describe_failure, read_reports


def run_processes(arguments: Sequence[str], name: Callable[[Namespace], str]) -> None:
    """Start processes as torch.distributed.run does, and wait for them.

    Args:
        arguments: of torch.distributed.run: its options, the script and the script's arguments.
        name: returns the name with which an error begins, from the parsed arguments.

    Raises:
        SystemExit: a process has failed, with one line that names its rank and the first cause;
            128 + the number of a signal that this process received.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    args = run.parse_args(list(arguments))
    # its messages repeat, in many lines, what the one line says
    for logger in list(logging.root.manager.loggerDict):
        if logger.startswith('torch.distributed'):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix='mmpanseg_') as folder:
        os.environ[FOLDER] = folder
        try:
            run.run(args)
        except SignalException as stop:
            sys.exit(128 + stop.sigval)
        except ChildFailedError as error:
            local = int(args.nproc_per_node)
            first = int(args.node_rank) * local
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            text = describe_failure(read_reports(Path(folder)), codes,
                                    range(first, first + local), local * int(args.nnodes))
            sys.exit(f'{name(args)}: error: {text}')


def run_verb_in_processes(verb: str, arguments: Sequence[str], count: int) -> None:
    """Run a verb of the command in several processes of this machine.

    Args:
        verb: its name.
        arguments: its arguments, without the launcher.
        count: number of processes, at least 1.

    Raises:
        SystemExit: see :func:`run_processes`.
    """
    with socket.socket() as free:
        # two runs on one machine must not meet on the same port
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    # every process would otherwise start a thread per core
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // count)))
    package = str(Path(__file__).resolve().parents[2])
    os.environ['PYTHONPATH'] = os.pathsep.join(
        [package, *filter(None, [os.environ.get('PYTHONPATH')])])
    run_processes(
        ['--nnodes=1', '--node_rank=0', f'--nproc_per_node={count}', '--master_addr=127.0.0.1',
         f'--master_port={port}', '-m', 'mmpanseg', verb, *arguments, '--launcher', 'pytorch'],
        lambda args: f'mmpanseg {verb}')
