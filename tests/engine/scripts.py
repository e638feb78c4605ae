"""A model that says what a test wants: its vocabulary is the 256 bytes, and each token has its followers by script.

A prompt's last letter picks the script. `NOT_A_NUMBER` is a letter whose embedding is NaN.
"""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tests.engine.tiny_models import scripted_weights, tiny_args, write_folder, write_vocabulary

CONTROLS = ("<|im_end|>", "<|im_start|>", "<s>")
EOS = 259  # behind the bytes and three merges
SIZE = EOS + len(CONTROLS)

TEXT = "né日🙂!"  # no byte of it twice
NOT_A_NUMBER, INFINITE = ord("N"), ord("I")
DIGITS = list(b"0123456789")


def chain(*tokens: int) -> Iterable[tuple[int, list[int]]]:
    return ((token, [follower]) for token, follower in pairwise(tokens))


FOLLOWING = {
    **dict(chain(ord("A"), *TEXT.encode(), EOS)),  # A: the text, then the end
    **dict(chain(ord("B"), ord("x"), ord("y"), ord("z"), ord("x"))),  # B: xyzxyz… without end
    **dict(chain(ord("C"), 0xE8, 0x98, EOS)),  # C: two thirds of a character, then the end
    **dict(chain(ord("D"), 0xFF, ord("d"), 0xC4, ord("e"), EOS)),  # D: bytes that are no UTF-8
    **dict(chain(ord("E"), EOS)),  # E: the end at once
    **dict(chain(ord("F"), ord("f"), NOT_A_NUMBER)),  # F: a letter, then nonsense
    **dict(chain(ord("G"), ord("g"), INFINITE)),
    ord("S"): DIGITS,  # S: any digit, then S again
    **{digit: [ord("S")] for digit in DIGITS},
}


def write_script(folder: Path, spare_rows: int = 0, n_layers: int = 1, chats: bool = False, **config: Any) -> Path:
    """The scripted model as a folder; spare rows are rows of the model beyond its vocabulary, and P is drawn to one.

    One that `chats` may be told anything, and its answers to a turn in ChatML have no end.
    """
    size = SIZE + spare_rows
    shape = {"n_layers": n_layers, "n_heads": 1, "n_kv_heads": 1, "head_dim": 2, "hidden_dim": 2}
    args = tiny_args(dim=size, vocab_size=size, **shape)
    weights = scripted_weights(args, FOLLOWING | ({ord("\n"): [ord("x")]} if chats else {}))
    if not chats:
        weights["model.embed_tokens.weight"][NOT_A_NUMBER] = np.nan
        weights["model.embed_tokens.weight"][INFINITE] = np.inf
    if spare_rows:
        weights["lm_head.weight"][[SIZE, ord("p")], ord("P")] = [2, 1]
    write_folder(folder, args, weights, **({"max_position_embeddings": 1 << 20} | config))
    write_vocabulary(folder, *CONTROLS)
    return folder
