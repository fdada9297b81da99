"""Memory of this process."""
import os
import resource
from pathlib import Path


def resident_memory() -> int:
    """Return the bytes of this process in main memory; without /proc those of its peak."""
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf('SC_PAGE_SIZE')
