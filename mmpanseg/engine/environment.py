"""Facts about this machine and its packages, for bug reports."""
from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import platform
import sys
from typing import Any

# import name -> distributions that provide it
PACKAGES = {
    'torch': ('torch', ), 'torchvision': ('torchvision', ),
    'mmengine': ('onedl-mmengine', 'mmengine'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite'), 'mmdet': ('onedl-mmdetection', 'mmdet'),
    'numpy': ('numpy', ),
    'opencv': ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python',
               'opencv-contrib-python-headless'),
    'pillow': ('pillow', ), 'pycocotools': ('pycocotools', ), 'transformers': ('transformers', ),
    'safetensors': ('safetensors', )}
# Of mmengine's report; the others are above.
_BUILD_FACTS = ('CUDA_HOME', 'NVCC', 'GCC')


def describe_environment() -> dict[str, Any]:
    """Collect versions, compiled operators, devices, and the machine.

    Returns:
        {``versions``: {package: version and distribution; None if it is not installed}, ``mmcv``:
        {``operators``: mmcv's compiled operators run on a CPU, ``cuda_operators``}, ``gpus``: list
        of {name, memory_gb, capability, bf16}, ``cpu``: {name, cores, fast_bf16, memory_gb,
        threads}, ``system``, ``build``: {cuda, CUDA_HOME, NVCC, GCC}}. All values can be written as
        JSON.
    """
    import torch

    from mmpanseg import compat
    from mmpanseg.engine.launch import has_fast_bf16
    from mmpanseg.version import __version__

    versions: dict[str, str | None] = {'mmpanseg': __version__, 'python': platform.python_version()}
    versions |= {name: _version(names) for name, names in PACKAGES.items()}
    return dict(
        versions=versions,
        mmcv=dict(operators=compat.operators_compiled(),
                  cuda_operators=compat.operators_compiled('cuda')),
        gpus=_gpus(),
        cpu=dict(name=_cpu_name(), cores=_cores(), threads=torch.get_num_threads(),
                 fast_bf16=has_fast_bf16(), memory_gb=_memory_gb()),
        system=f'{_system_name()}, {platform.machine()}',
        build=_build_facts(torch.version.cuda))


def _version(distributions: tuple[str, ...]) -> str | None:
    found = []
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f'{importlib.metadata.version(name)} ({name})')
    return ', '.join(found) or None


def _gpus() -> list[dict[str, Any]]:
    import torch

    gpus = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        gpus.append(dict(
            name=properties.name, memory_gb=round(properties.total_memory / 2**30, 1),
            capability=f'{properties.major}.{properties.minor}',
            # in hardware; torch.cuda.is_bf16_supported() counts emulation, too
            bf16=properties.major >= 8))
    return gpus


def _cpu_name() -> str:
    """Name of the processor, as Linux tells it."""
    with contextlib.suppress(OSError), open('/proc/cpuinfo', encoding='utf-8') as file:
        for line in file:
            key, _, value = line.partition(':')
            if key.strip() == 'model name':
                return value.strip()
    return platform.processor() or 'unknown'


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gb() -> float | None:
    """Main memory in GiB, also where a container limits it; None if it is unknown."""
    sizes = []
    with contextlib.suppress(OSError, ValueError):
        sizes.append(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))
    for path in ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'):
        with contextlib.suppress(OSError, ValueError), open(path, encoding='utf-8') as limit:
            sizes.append(int(limit.read()))
    return round(min(sizes) / 2**30, 1) if sizes else None


def _system_name() -> str:
    with contextlib.suppress(OSError, AttributeError):
        return f'{platform.freedesktop_os_release()["PRETTY_NAME"]}, {platform.system()} ' \
            f'{platform.release()}'
    return platform.platform()


def _build_facts(cuda: str | None) -> dict[str, str | None]:
    """What mmengine finds out about compilers."""
    from mmengine.utils.dl_utils import collect_env

    facts: dict[str, Any] = {}
    # it calls compilers, whose absence is no error here
    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
        facts = collect_env()
    return {'cuda': cuda, **{name: facts[name] for name in _BUILD_FACTS if facts.get(name)},
            'executable': sys.executable}
