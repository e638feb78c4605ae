"""Results of commands as text for a terminal."""

from collections.abc import Mapping, Sequence

from menny.engine.benchmarks.bench import Report, Speeds
from menny.engine.benchmarks.perplexity import Perplexity
from menny.engine.benchmarks.reuse_and_lookup import Drafts
from menny.engine.benchmarks.verify import Verification
from menny.models.catalogue import Fit, ModelSpec, Recommendation, sections
from menny.models.hub import DownloadProgress
from menny.models.loader import Planner
from menny.text import size, table

CONTEXTS = (4096, 32768)  # tokens, of a table's columns


def bench_text(model: str, report: Report) -> str:
    """Format the report of a benchmark."""
    heads = [
        "requests at once",
        "prefill tok/s",
        "decode tok/s",
        "in sum",
        "first token s",
        "slowest s",
        "longest pause s",
        "total tok/s",
        "memory",
    ]
    limit = report.bandwidth / report.bytes_per_token
    lines = [
        f"{model} on {report.device}: {report.prompt_tokens} prompt tokens, {report.new_tokens} new ones, "
        f"medians of {report.runs} runs",
        "",
        table([heads, *map(_speeds_row, report.speeds)]),
        "",
        f"memory     {size(report.peak_memory)} at most, {size(report.weights_bytes)} of it weights; "
        f"the process {size(report.resident_memory)}",
        f"bandwidth  {size(report.bandwidth)}/s allow {limit:.1f} tokens/s; "
        f"decoding reaches {report.speeds[0].bandwidth_share:.0%} of it",
    ]
    turn, lookup = report.reuse, report.lookup
    lines += [
        f"turn {turn.turn}     {turn.cached_tokens} of {turn.prompt_tokens} prompt tokens are cached: the first "
        f"token after {turn.seconds_to_first_token:.2f} s, not {turn.seconds_without_reuse:.2f} s ({turn.ratio:.2f}x)",
        f"drafts     where a reply repeats the text, {_drafts(lookup.repeating)}; "
        f"where it doesn't, {_drafts(lookup.fresh)}",
    ]
    if baseline := report.against:
        lines.append(
            f"{baseline.name}     {baseline.version}: prefill {baseline.prefill_tps:.1f}, "
            f"decode {baseline.decode_tps:.1f}; "
            f"Menny's are {baseline.prefill_ratio:.2f}x and {baseline.decode_ratio:.2f}x; "
            f"{size(baseline.memory)}, {baseline.bandwidth_share:.0%} of the bandwidth; "
            f"the same tokens in {baseline.same_tokens:.0%} of runs"
        )
    return "\n".join(lines)


def _drafts(one: Drafts) -> str:
    return f"decode {one.decode_tps:.1f}, not {one.decode_tps_without:.1f} ({one.ratio:.2f}x)"


def _speeds_row(one: Speeds) -> list[str]:
    return [
        str(one.concurrency),
        f"{one.prefill_tps:.1f}",
        f"{one.decode_tps:.1f}",
        "–" if one.decode_sum_tps is None else f"{one.decode_sum_tps:.1f}",
        f"{one.seconds_to_first_token:.2f}",
        f"{one.slowest_first_token:.2f}",
        f"{one.longest_pause:.2f}",
        f"{one.total_tps:.1f}",
        size(one.memory),
    ]


def verify_text(model: str, result: Verification) -> str:
    """Format the comparison of the ways to compute a text."""
    window = f", window {result.sliding_window}" if result.sliding_window else ""
    rows = [[one.way, f"{one.largest:.1e}", f"{one.relative:.1e}"] for one in result.differences]
    verdict = "They agree" if result.agrees else "THEY DISAGREE"
    return "\n".join(
        [
            f"{model}: {result.tokens} tokens{window}; logits up to {result.largest_logit:.1f}, against one pass",
            "",
            table([["", "largest difference", "of the largest logit"], *rows]),
            "",
            f"{verdict}: the tolerance is {result.tolerance:g} of the largest logit.",
        ]
    )


def perplexity_text(results: Mapping[str, Perplexity]) -> str:
    """Format perplexities, as a ratio to the first model's where the text has as many tokens."""
    first = next(iter(results.values()))
    rows = [["", "weights", "tokens", "perplexity", "of the first"]]
    for name, one in results.items():
        share = f"{one.perplexity / first.perplexity:.3f}x" if one.tokens == first.tokens else ""
        rows.append([name, size(one.weights_bytes), str(one.tokens), f"{one.perplexity:.3f}", share])
    return table(rows)


def fit_text(specs: Sequence[ModelSpec], planner: Planner) -> str:
    """Format the memory that the models of the catalogue take, by context length."""
    rows = [["", "weights", *(f"{context // 1024}k context" for context in CONTEXTS), "longest here"]]
    for spec in specs:
        plans = [planner(spec, context) for context in (*CONTEXTS, None)]
        known = [plan for plan in plans if plan]
        if len(known) == len(plans):
            *_, longest = known
            fitting = f"{longest.context:,}" if longest.fits else "none"
            rows.append([spec.name, size(longest.weights), *(size(plan.total) for plan in known[:-1]), fitting])
    return table(rows)


def models_text(specs: Sequence[ModelSpec], fits: Mapping[str, Fit], recommendation: Recommendation | None) -> str:
    """Format the models in the sections of the models page, family by family."""
    best = recommendation.model if recommendation else None
    shown = sections(specs, fits, best)
    width = max((len(spec.id) for spec in specs), default=0)
    parts = [
        ("For this machine", [shown.recommended] if shown.recommended else []),
        ("Your models", shown.yours),
        ("Also fits", shown.fitting),
        ("Too large", shown.too_large),
    ]
    lines: list[str] = []
    for title, families in parts:
        if families:
            lines += ["", title.upper()]
        for family in families:
            lines += ["", family.name]
            for spec in family.models:
                lines += _model_lines(spec, fits.get(spec.id), recommendation if spec is best else None, width)
    return "\n".join([*lines[1:], "", "Chat with one by --model ID. Download one by the command below its name."])


def _model_lines(spec: ModelSpec, fit: Fit | None, recommendation: Recommendation | None, width: int) -> list[str]:
    """A model: whether it is here, what it is, why it is recommended, whether it fits, where it is or how to get it."""
    on_disk = size(spec.size_bytes) if spec.size_bytes else ""
    star = "  (recommended)" if recommendation else ""
    below = [str(recommendation or (fit.in_short if fit else "")), str(spec.path() or spec.how_to_get)]
    indent = " " * (width + 14)
    first = f"{'●' if spec.target() else '○'} {spec.id:<{width}}  {on_disk:>8}  {spec.name}{star}"
    return [first, *(indent + line for line in below if line)]


def download_text(progress: DownloadProgress) -> str:
    """Format the progress of a download in one line."""
    if progress.doing == "listing":
        return "Asking the hub …"
    parts = [f"{progress.files_done} of {progress.files} files", f"{size(progress.done)} of {size(progress.size)}"]
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        parts += [f"{size(progress.speed)}/s", f"{minutes}:{seconds:02} left"]
    return " · ".join(parts)
