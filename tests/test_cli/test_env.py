"""mmpanseg env tells what the packages and the machine tell themselves."""
import json
import os

import cv2
import mmcv
import mmdet
import mmengine
import numpy
import PIL
import torch

from mmpanseg import compat
from mmpanseg.cli.verbs.env import rows
from mmpanseg.version import __version__


def test_json(mmpanseg_command):
    done = mmpanseg_command('env', '--json')
    assert (done.status, done.err) == (0, '')
    facts = json.loads(done.out)
    versions = facts['versions']
    for name, module in (('torch', torch), ('mmengine', mmengine), ('mmcv', mmcv),
                         ('mmdet', mmdet), ('numpy', numpy), ('pillow', PIL)):
        assert versions[name].split(' (')[0].split('+')[0] == module.__version__.split('+')[0]
    assert versions['opencv'].startswith(cv2.__version__)
    assert versions['mmpanseg'] == __version__
    assert facts['mmcv']['operators'] == compat.operators_compiled()
    assert len(facts['gpus']) == torch.cuda.device_count()
    assert facts['cpu']['cores'] == len(os.sched_getaffinity(0))
    with open('/proc/meminfo') as file:
        total = int(file.readline().split()[1]) / 2**20
    assert 0 < facts['cpu']['memory_gb'] <= round(total, 1)
    text = mmpanseg_command('env').out
    assert text.splitlines() == [f'{name:{len("mmcv operators")}}  {value}'
                                 for name, value in rows(facts)]


def test_text_of_a_machine_with_gpus():
    facts = dict(
        versions=dict(torch='2.6.0 (torch)', transformers=None),
        mmcv=dict(operators=True, cuda_operators=True),
        gpus=[dict(name='H100', memory_gb=79.1, capability='9.0', bf16=True)],
        cpu=dict(name='x', cores=2, threads=1, fast_bf16=False, memory_gb=None),
        system='Linux', build=dict(cuda='12.4'))
    assert dict(rows(facts)) == {
        'torch': '2.6.0 (torch)', 'transformers': 'not installed',
        'mmcv operators': 'yes, CPU and CUDA',
        'GPU 0': 'H100, 79.1 GiB, capability 9.0, bf16 yes',
        'CPU': 'x, 2 cores, 1 threads in torch, fast bf16 no', 'memory': 'unknown',
        'system': 'Linux', 'cuda': '12.4'}
