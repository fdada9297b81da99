"""Run a tool whose workers are forked, not spawned: they do not import torch and mmdet again.

python tests/forked_workers.py TOOL [ARGUMENTS]
"""
import multiprocessing
import os
import runpy
import sys

if __name__ == '__main__':
    context = multiprocessing.get_context('fork')
    multiprocessing.get_context = lambda method=None: context
    del sys.argv[0]
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name='__main__')
