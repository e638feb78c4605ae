"""What flows where: through a block, the experts, time, from machine to machine; and how numbers lie."""

from itertools import pairwise

from drawing.paper import arrow, caption, code, sheet, squares, tile, words
from drawing.shapes import AMBER, BUTTER, DUSK, FOAM, HAZE, INK, MIST, ORANGE, PERI, SEA, box, circle, stroke


def one_block() -> str:
    """A block from left to right, with what it adds to."""
    y = 120
    parts = [stroke(f"M40 {y}H850", DUSK, 3)]
    steps = [(88, 88, "RMSNorm", HAZE), (192, 88, "wq wk wv", AMBER), (284, 64, "RoPE", MIST)]
    steps += [(386, 104, "attention", ORANGE), (480, 50, "wo", AMBER)]
    for x, width, said, fill in steps:
        parts.append(tile((x, y + 90), (width, 44), fill, said))
    for (x, width, *_), (following, wide, *_) in pairwise(steps):
        parts.append(arrow([(x + width / 2 + 2, y + 90), (following - wide / 2 - 3, y + 90)]))
    parts += [tile((386, y + 168), (108, 40), FOAM, "cache"), arrow([(374, y + 114), (374, y + 146)])]
    parts.append(arrow([(398, y + 146), (398, y + 114)]))
    parts += [tile((622, y + 90), (88, 44), HAZE, "RMSNorm"), tile((744, y + 90), (120, 44), AMBER, "feed-forward")]
    parts += [arrow([(668, y + 90), (682, y + 90)]), arrow([(88, y), (88, y + 66)]), arrow([(622, y), (622, y + 66)])]
    parts += [
        arrow([(508, y + 90), (536, y + 90), (536, y + 14)]),
        arrow([(806, y + 90), (826, y + 90), (826, y + 14)]),
    ]
    for x in (536, 826):
        parts += [circle((x, y), 13, BUTTER), words((x, y - 1), "+", 18)]
    parts += [code((60, y - 24), "x", 15), words((250, y - 24), "the residual stream  [B, L, dim]", 14, DUSK)]
    parts.append(words((744, y + 146), "SwiGLU, or 2 of 8 experts", 14, DUSK))
    parts.append(code((230, y + 138), "[B, H + 2K, L, D]", 13))
    parts.append(words((440, 40), "Block.__call__", 16, INK, bold=True))
    return sheet(330, "One block: attention, then the feed-forward, each on the normed input and added to it", *parts)


def experts() -> str:
    """Three tokens, eight experts, two each; and how their rows are put together."""
    chosen = ((1, 4), (4, 6), (1, 2))
    fills, parts = (AMBER, FOAM, MIST), []
    for token, picks in enumerate(chosen):
        y = 70 + 80 * token
        parts.append(tile((90, y), (96, 44), fills[token], f"token {token}"))
        for end in (34 + 36 * expert for expert in picks):
            parts += [stroke(f"M140 {y}C210 {y} 240 {end} 296 {end}", fills[token], 3)]
    used = {expert for picks in chosen for expert in picks}
    for expert in range(8):
        y = 34 + 36 * expert
        parts.append(tile((350, y), (104, 28), ORANGE if expert in used else HAZE, f"expert {expert}", letters=13))
    rows = sorted((expert, token) for token, picks in enumerate(chosen) for expert in picks)
    for place, (expert, token) in enumerate(rows):
        y = 70 + 36 * place
        parts.append(tile((560, y), (84, 28), fills[token], f"row of {token}", letters=13))
        parts.append(code((618, y), f"→ expert {expert}", 13, anchor="start"))
    parts.append(words((600, 34), "sorted: an expert's rows lie together", 14, DUSK))
    parts.append(caption(324, "y = Σ softmax(top-2 logits)ᵢ · SwiGLUᵢ(x): after the choice, so the shares sum to 1"))
    parts.append(words((770, 160), "one gather_mm", 14, DUSK))
    parts.append(words((770, 180), "for all of them", 14, DUSK))
    return sheet(354, "A mixture of experts: each token goes through the two that its gate picks", *parts)


def pipelined_decoding() -> str:
    """The machine and Python side by side."""
    parts = [words((40, 70), "machine", 15, DUSK, "start"), words((40, 140), "Python", 15, DUSK, "start")]
    for step in range(5):
        x = 130 + 140 * step
        parts.append(tile((x + 66, 70), (128, 44), (ORANGE, AMBER)[step % 2], f"pass {step}"))
        if step < 4:
            parts.append(tile((x + 186, 140), (92, 40), FOAM, f"text of {step}"))
            parts.append(arrow([(x + 128, 94), (x + 146, 118)]))
    parts.append(
        caption(198, "Pass n + 1 takes token n as an array that nobody has read yet, so it can be queued before.")
    )
    return sheet(228, "The next pass is queued before the current token is read", *parts)


def quantized_group() -> str:
    """A row of weights in groups."""
    fills = [[(AMBER, FOAM, MIST, BUTTER)[place // 8] for place in range(32)]]
    parts = [squares((56, 60), 24, fills), words((440, 38), "one row of weights, in groups of 32 or 64", 14, DUSK)]
    for group, fill in enumerate((AMBER, FOAM, MIST, BUTTER)):
        x = 56 + 24 * (8 * group + 4)
        parts.append(arrow([(x, 92), (x, 118)]))
        parts.append(box((x, 144), (170, 44), 9, fill))
        parts.append(code((x, 137), "q₀ q₁ … q₃₁", 13, INK))
        parts.append(code((x, 154), "scale, bias", 13, INK))
    parts.append(
        caption(200, "w ≈ scale · q + bias.  With 4 bits, 16 values from a group's least weight to its largest.")
    )
    return sheet(230, "Affine quantization: each group of weights shares a scale and a bias", *parts)


def prompt_lookup() -> str:
    """A reply that quotes."""
    before = ["the", "tower", "kept", "the", "fire", "high", "and", "dry"]
    parts = [words((40, 62), "prompt", 15, DUSK, "start"), words((40, 152), "reply", 15, DUSK, "start")]
    for place, said in enumerate(before):
        fill = FOAM if place in (1, 2, 3) else MIST if place > 3 else HAZE
        parts.append(tile((160 + 86 * place, 62), (78, 42), fill, said))
    for place, said in enumerate(before[1:]):
        fill = FOAM if place < 3 else AMBER
        parts.append(tile((246 + 86 * place, 152), (78, 42), fill, said))
    parts.append(arrow([(675, 86), (675, 128)], PERI, dashed=True))
    parts.append(words((330, 200), "the last three tokens stood there before …", 14, SEA))
    parts.append(words((675, 200), "… so these are the draft", 14, "#a86a00"))
    parts.append(caption(240, "One pass computes all of them; the reply keeps what the model itself would have said."))
    return sheet(270, "Prompt lookup: what followed the same words before is a draft of what follows now", *parts)


def stages() -> str:
    """Two machines."""
    parts = []
    for rank, (x, said) in enumerate([(230, "blocks 0 … 15"), (650, "blocks 16 … 31")]):
        parts.append(box((x, 120), (330, 150), 14, HAZE))
        parts.append(words((x, 66), f"rank {rank}", 15, DUSK, bold=True))
        parts.append(tile((x, 112), (170, 46), AMBER, said))
        parts.append(tile((x, 168), (170, 36), FOAM, "cache of these", letters=14))
    parts += [tile((104, 112), (64, 46), MIST, "embed"), arrow([(137, 112), (143, 112)])]
    parts += [tile((776, 112), (64, 46), MIST, "output"), arrow([(736, 112), (742, 112)])]
    parts += [arrow([(316, 112), (562, 112)], ORANGE, 3.5), code((440, 94), "[B, L, dim]", 13)]
    parts += [
        arrow([(776, 137), (776, 222), (104, 222), (104, 137)], PERI, 3),
        words((440, 244), "logits: rank 0 samples, decodes and prints", 14, DUSK),
    ]
    return sheet(276, "A model in two stages: hidden states go on, logits come back", *parts)
