"""Memory of the host: pages that were used once stay with the process."""
import ctypes
import os
import sys

# names and values of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD = 64 << 20


def keep_freed_memory() -> bool:
    """Let the C library reuse freed tensors' memory instead of giving it back to the system.

    Every step of a model on a CPU allocates and frees the same large tensors. By default each of
    them consists of fresh pages, and the first touch of a page costs more than the arithmetic on
    it, above all in a virtual machine. The process keeps what it held at its peak.

    Environment variables of the same purpose (``MALLOC_...``, ``GLIBC_TUNABLES``) come first.

    Returns:
        Whether anything was set: not with such variables, nor with another C library than glibc.
    """
    if any(name.startswith('MALLOC_') or name == 'GLIBC_TUNABLES' for name in os.environ):
        return False
    if not sys.platform.startswith('linux'):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        return False
    return all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1),
                mallopt(_M_TOP_PAD, _TOP_PAD)])
