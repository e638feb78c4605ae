"""The bounds of a process that reads a document: its time, its memory, and that it writes no file."""

import sys

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MOST_SECONDS = 20  # of computing
MOST_MEMORY = 2**30  # bytes


def limit_this_process() -> None:
    """Bound this process; macOS doesn't heed the bound of memory, and there the time alone ends a document."""
    if resource is None:
        return
    bounds = {resource.RLIMIT_CPU: MOST_SECONDS, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    if sys.platform != "darwin":
        bounds[resource.RLIMIT_AS] = MOST_MEMORY
    for what, most in bounds.items():
        resource.setrlimit(what, (most, most))
