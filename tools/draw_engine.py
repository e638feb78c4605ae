"""Draws every picture of docs/engine.md again: `PYTHONPATH=. python tools/draw_engine.py`."""

from pathlib import Path

from drawing import attention_drawings, flow_drawings

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"

DRAWINGS = {
    "block": flow_drawings.one_block,
    "grouped-queries": attention_drawings.grouped_queries,
    "rotary-pairs": attention_drawings.rotary_pairs,
    "window": attention_drawings.window_mask,
    "rolling-buffer": attention_drawings.rolling_buffer,
    "chunks": attention_drawings.chunk_mask,
    "experts": flow_drawings.experts,
    "quantization": flow_drawings.quantized_group,
    "decoding": flow_drawings.pipelined_decoding,
    "prefixes": attention_drawings.prefix_reuse,
    "lookup": flow_drawings.prompt_lookup,
    "stages": flow_drawings.stages,
}


def main() -> None:
    """Write all of them."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWINGS.items():
        (IMAGES / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
