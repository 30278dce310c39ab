"""Memory that was taken for a moment and is free again, given back to the system.

What thousands of objects were read into lies between what is kept of them, and the C library gives back only what is
free at the end of its heap: after 5,000 deployments were read, 30 MiB of 170 stayed in the process for nothing.
"""

import ctypes


def give_back() -> None:
    """For milliseconds; where the C library is not glibc, nothing happens."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
