"""Start processes as torch.distributed.run does; a failure ends in one line and status 1."""
import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

from mmpanseg.engine.process_errors import FOLDER, describe_failure, read_reports


def parse_args() -> list[str]:
    """Return the arguments of torch.distributed.run, the script and its arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, usage='%(prog)s [options of torch.distributed.run] SCRIPT [options of '
        'SCRIPT]; used by tools/dist_train.sh and tools/dist_test.sh')
    if sys.argv[1:] in ([], ['-h'], ['--help']):
        parser.parse_args(['--help'])
    return sys.argv[1:]


def main() -> None:
    arguments = parse_args()
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    args = run.parse_args(arguments)
    # its messages repeat, in many lines, what the one line says
    for name in list(logging.root.manager.loggerDict):
        if name.startswith('torch.distributed'):
            logging.getLogger(name).setLevel(logging.CRITICAL)
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
            sys.exit(f'{Path(args.training_script).name}: error: {text}')


if __name__ == '__main__':
    main()
