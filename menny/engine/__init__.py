"""The engine: Mistral in MLX, from a file on disk to a stream of text. It knows nothing of Menny but her errors."""

from menny.engine.cpu.blas import preload

preload()  # before MLX is imported: it decides which BLAS MLX's products find

from menny.engine.args import ModelArgs, MoEArgs  # noqa: E402
from menny.engine.cache_files import CacheFolder, remove_caches  # noqa: E402
from menny.engine.checkpoints.background_convert import Conversion  # noqa: E402
from menny.engine.checkpoints.convert import QuantizationConfig, fitting_group_size  # noqa: E402
from menny.engine.checkpoints.load import load_model  # noqa: E402
from menny.engine.cpu.kernels import must_compile  # noqa: E402
from menny.engine.loader import load_engine  # noqa: E402
from menny.engine.memory import active_memory  # noqa: E402
from menny.engine.memory_plan import Machine, Plan, needs_at, needs_of, plan_for, this_machine  # noqa: E402
from menny.engine.model import Mistral  # noqa: E402
from menny.engine.requests import Stream  # noqa: E402
from menny.engine.sampling import SamplingParams  # noqa: E402
from menny.engine.tokenizers.tokenizer import Tokenizer, load_tokenizer  # noqa: E402
from menny.engine.worker import PARALLEL, Engine  # noqa: E402
from menny.engine_protocols import Chunk, Progress, Score  # noqa: E402

__all__ = [
    "PARALLEL",
    "CacheFolder",
    "Chunk",
    "Conversion",
    "Engine",
    "Machine",
    "Mistral",
    "MoEArgs",
    "ModelArgs",
    "Plan",
    "Progress",
    "QuantizationConfig",
    "SamplingParams",
    "Score",
    "Stream",
    "Tokenizer",
    "active_memory",
    "fitting_group_size",
    "load_engine",
    "load_model",
    "load_tokenizer",
    "must_compile",
    "needs_at",
    "needs_of",
    "plan_for",
    "remove_caches",
    "this_machine",
]
