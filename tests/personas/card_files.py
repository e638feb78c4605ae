"""Character cards as their public descriptions have them, and pictures that carry them, written by Pillow."""

import base64
import io
import json
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

V1: dict[str, Any] = {
    "name": "Seraphina",
    "description": "{{char}} guards a forest. She heals whoever gets lost in it.",
    "personality": "gentle, watchful",
    "scenario": "<USER> wakes up in her glade.",
    "first_mes": "*She smiles.* You are safe here, {{user}}.",
    "mes_example": "<START>\n{{user}}: Where am I?\n{{char}}: In my glade.\nBe calm.\n<START>\n{{user}}: Who are you?\n"
    "Seraphina: A guardian.",
}

V2: dict[str, Any] = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        **V1,
        "creator_notes": "A gentle guardian\nBest with a warm voice.",
        "system_prompt": "{{original}}\nWrite as {{char}}, in the first person.",
        "post_history_instructions": "Keep it short. {{original}}",
        "alternate_greetings": ["Good morning.", "Who is there?"],
        "character_book": {
            "name": "Glade",
            "extensions": {},
            "entries": [
                {
                    "keys": ["moss"],
                    "content": "The moss glows.",
                    "extensions": {"depth": 4},
                    "enabled": True,
                    "insertion_order": 1,
                }
            ],
        },
        "tags": ["fantasy", "no"],
        "creator": "somebody",
        "character_version": "1.1",
        "extensions": {"agnai/voice": {"id": 3, "rate": 1.5}, "talkativeness": "0.5", "none": None},
    },
}

V3: dict[str, Any] = {
    "spec": "chara_card_v3",
    "spec_version": "3.0",
    "data": {
        **V2["data"],
        "assets": [{"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}],
        "nickname": "Sera",
        "creator_notes_multilingual": {"de": "Sanft"},
        "source": ["https://example.org/seraphina"],
        "group_only_greetings": ["Hello all"],
        "creation_date": 1718000000,
        "modification_date": 1718000001,
        "a_field_of_the_future": [1, {"deep": None}],
    },
}


def as_json(card: Any) -> bytes:
    return json.dumps(card).encode()


def packed(card: Any) -> str:
    return base64.b64encode(as_json(card)).decode()


def as_png(texts: dict[str, str], kind: str = "tEXt", size: tuple[int, int] = (60, 90)) -> bytes:
    """A picture with texts in it, of the kind that is asked for."""
    info = PngInfo()
    for keyword, text in texts.items():
        if kind == "iTXt":
            info.add_itxt(keyword, text, zip=True)
        else:
            info.add_text(keyword, text, zip=kind == "zTXt")
    written = io.BytesIO()
    Image.new("RGB", size, "#884422").save(written, "PNG", pnginfo=info)
    return written.getvalue()
