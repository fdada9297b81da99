"""``python -m mmpanseg`` is the command ``mmpanseg``."""
from mmpanseg.cli.app import main

if __name__ == '__main__':
    main(prog_name='mmpanseg')
