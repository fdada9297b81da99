"""Start processes as torch.distributed.run does; a failure ends in one line and status 1."""
import argparse
import sys
from pathlib import Path

from mmpanseg.engine.processes import run_processes


def parse_args() -> list[str]:
    """Return the arguments of torch.distributed.run, the script and its arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, usage='%(prog)s [options of torch.distributed.run] SCRIPT [options of '
        'SCRIPT]; used by tools/dist_train.sh and tools/dist_test.sh')
    if sys.argv[1:] in ([], ['-h'], ['--help']):
        parser.parse_args(['--help'])
    return sys.argv[1:]


if __name__ == '__main__':
    run_processes(parse_args(), lambda args: Path(args.training_script).name)
