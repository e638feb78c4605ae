"""How much memory this process has held at most."""

import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """Bytes of the largest resident set. On Linux not by getrusage: it counts what the parent held at the fork."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
