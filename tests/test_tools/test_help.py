"""Every tool answers --help without the imports that take seconds."""
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from mmpanseg.checkpoints import SOURCES
from mmpanseg.checkpoints.class_order import PUBLISHED

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
NO_TOOLS = ('benchmark/peers.py', 'benchmark/timing.py')  # imported by others
NAMES = sorted({path.relative_to(TOOLS).as_posix() for path in TOOLS.rglob('*.py')} - {*NO_TOOLS})
# Runs a tool, then lists imported packages.
PROGRAM = '''
import runpy, sys
del sys.argv[0]
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
finally:
    found = {'torch', 'numpy', 'cv2', 'mmengine', 'mmcv', 'mmdet'} & {*sys.modules}
    assert not found, found
'''


@pytest.mark.parametrize('name', NAMES)
def test_help(name):
    done = subprocess.run([sys.executable, '-c', PROGRAM, str(TOOLS / name), '--help'],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('usage: ') and not done.stderr


def test_names_in_the_help_of_convert():
    module = runpy.run_path(str(TOOLS / 'model_converters/convert.py'))
    assert sorted(module['SOURCES']) == sorted(SOURCES)
    assert module['CLASS_ORDERS'] == tuple(PUBLISHED)
