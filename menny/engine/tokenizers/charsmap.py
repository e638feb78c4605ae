"""SentencePiece's precompiled charsmap: a double array (darts-clone) that leads from characters to their replacements.

The library follows it without asking whether it leads outside, so it is checked first: every node's children lie
within the array, every value within the texts behind it, and no replacement is long.
"""

import numpy as np

MAX_BYTES = 4 << 20
MAX_REPLACEMENT = 64  # bytes; Unicode's own forms take 33 at most
BLOCK = 256  # nodes that a node's children are spread over


def is_charsmap(data: bytes) -> bool:
    """Return True for a charsmap that the library can follow, and that makes no text much longer."""
    size = int.from_bytes(data[:4], "little")
    if not 4 <= len(data) <= MAX_BYTES or size % (4 * BLOCK) or not 0 < size < len(data) - 4:
        return False
    nodes = np.frombuffer(data, "<u4", size // 4, 4).astype(np.uint64)
    texts = data[4 + size :]
    if not texts.endswith(b"\0") or max(map(len, texts.split(b"\0"))) > MAX_REPLACEMENT:
        return False
    is_value = nodes >> 31 == 1
    offsets = (nodes >> 10) << ((nodes & (1 << 9)) >> 6)
    furthest = (np.arange(nodes.size, dtype=np.uint64) ^ offsets) | (BLOCK - 1)
    values = nodes & 0x7FFFFFFF
    return bool((furthest[~is_value] < nodes.size).all() and (values[is_value] < len(texts)).all())
