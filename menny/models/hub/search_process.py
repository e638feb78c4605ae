"""The process that searches the hub: it reads words, and writes one line of JSON.

Asked for are listings of files and small configs; no weights are fetched.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, get_session, hf_hub_download, set_client_factory
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError
from huggingface_hub.hf_api import ModelInfo

from menny.errors import ModelError
from menny.model_files import CONFIG_FILES, MAX_CONFIG_BYTES, is_computed, parse_json
from menny.models.hub.errors import TroubleError, describe_search_error, refuse_trouble
from menny.models.hub.fetch import TIMEOUT, listing
from menny.models.hub.files import RemoteFile, chosen, gguf_choices
from menny.models.hub.search import Choice, Hit, HubSearchResult

MOST_LISTED = 30  # repositories that the hub is asked for
MOST_SHOWN = 8  # that are looked into
AT_ONCE = 4
ARCHITECTURES = ("llama", "mistral3")  # of GGUF files
QUANTIZED_BY = (None, "fp8")  # the values of quant_method that Menny reads; MLX writes none
FULL_BITS = 16


def main() -> None:
    """Search for the words of the input."""
    words = json.loads(sys.stdin.readline())["words"]
    hooks = {**get_session().event_hooks, "response": [refuse_trouble]}
    set_client_factory(lambda: AskOnce(event_hooks=hooks, follow_redirects=True, timeout=TIMEOUT))
    try:
        found, error = _search(words), ""
    except Exception as failed:  # whatever the hub's library raises becomes a sentence
        found, error = HubSearchResult((), 0), describe_search_error(failed)
    sys.stdout.write(json.dumps({**asdict(found), "error": error}) + "\n")


class AskOnce(httpx2.Client):
    """A client whose errors are final: huggingface_hub would try again for half a minute, silently."""

    def send(self, *args: Any, **named: Any) -> httpx2.Response:
        """Send as the base class does. Raises TroubleError where there is no connection."""
        try:
            return super().send(*args, **named)
        except httpx2.TransportError as error:
            raise TroubleError(describe_search_error(error)) from error


def _search(words: str) -> HubSearchResult:
    listed = list(
        HfApi().list_models(
            search=words, sort="downloads", limit=MOST_LISTED, expand=["config", "downloads", "gguf", "tags"]
        )
    )
    known = [info for info in listed if _may_be_computed(info)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        hits = [hit for hit in pool.map(_look_into, known[:MOST_SHOWN]) if hit]
    return HubSearchResult(tuple(hits), len(listed) - len(known) + len(known[:MOST_SHOWN]) - len(hits))


def _may_be_computed(info: ModelInfo) -> bool:
    """Judge a repository by the few lines that a listing has of its config or GGUF."""
    tags = info.tags or []
    if any(tag in tags for tag in ("diffusers", "sentence-transformers", "peft", "text-to-image")):
        return False
    if gguf := info.gguf:
        return gguf.get("architecture") in ARCHITECTURES
    config: Mapping[str, Any] = info.config or {}
    nested = config.get("model_type") == "mistral3"
    return (nested or is_computed(config)) and not _is_foreign(config)


def _look_into(info: ModelInfo) -> Hit | None:
    """Return what can be downloaded of a repository; None where it holds no model that Menny loads."""
    try:
        commit, files = listing(info.id, None)
        with tempfile.TemporaryDirectory() as folder:
            return _hit(info, files, lambda name: _small_file(info.id, commit, files[name], Path(folder)))
    except TroubleError:
        raise
    except (ModelError, GatedRepoError, ValueError):
        return None
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403, 404):
            return None  # it isn't shown to this user
        raise


def _hit(info: ModelInfo, files: Mapping[str, RemoteFile], read: Callable[[str], Path]) -> Hit | None:
    """Return the choices that a repository's files make, by its config where it isn't GGUF."""
    config_file = next((name for name in CONFIG_FILES if name in files), None)
    if ggufs := gguf_choices(files):
        choices = tuple(Choice(one.quantization, one.size, one.file) for one in ggufs)
        return Hit(info.id, info.downloads or 0, choices, n_parameters=int((info.gguf or {}).get("total") or 0))
    wanted = chosen(files, read)
    if config_file is None or files[config_file].size > MAX_CONFIG_BYTES:
        return None
    config = parse_json(read(config_file).read_bytes())
    if not is_computed(config) or _is_foreign(config):
        return None
    bits = _bits(config)
    choice = Choice(f"{bits}-bit", sum(file.size for file in wanted), bits=bits)
    return Hit(info.id, info.downloads or 0, (choice,), config)


def _is_foreign(config: Mapping[str, Any]) -> bool:
    """Return True for weights quantized in a way that Menny doesn't read."""
    found = [config.get(key) for key in ("quantization", "quantization_config")]
    quantized = [one for one in found if isinstance(one, dict)]
    return any(
        one.get("quant_method") not in QUANTIZED_BY or one.get("mode", "affine") != "affine" for one in quantized
    )


def _bits(config: Mapping[str, Any]) -> int:
    """Return the bits of a weight, by the quantization as MLX writes it; 16 for plain weights and FP8."""
    quantization = config.get("quantization")
    bits = quantization.get("bits") if isinstance(quantization, dict) else None
    return bits if isinstance(bits, int) and 1 < bits < FULL_BITS else FULL_BITS


def _small_file(repo: str, commit: str, file: RemoteFile, folder: Path) -> Path:
    """Fetch a file that describes the weights."""
    return Path(hf_hub_download(repo, file.name, revision=commit, local_dir=folder))


if __name__ == "__main__":
    main()
