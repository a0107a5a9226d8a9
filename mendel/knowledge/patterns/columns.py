"""What the name of a column says: a result, a name of the run, a seed or a campaign, a scale; or a knob."""

from __future__ import annotations

import re
from collections.abc import Sequence

PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
"""The words of a name, whether parted by signs or by capitals."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RESULTS = _words(
    """
    loss losses bpb bpc ppl perplexity acc accuracy err error errors auc auroc f1 score reward return
    mfu bleu rouge miou iou psnr ssim fid rmse mse mae wer cer nll logloss recall mcc mmlu
    hellaswag throughput latency runtime duration elapsed walltime wallclock gnorm
    kl
    elbo dice energy carbon auprc spearman pearson ece brier humaneval winrate regret
    """
)
STATISTICS = _words(
    """
    mean std sd se sem var min max final last best median low high lower upper ema
    """
)
"""May follow the word of a result."""
SPLITS = _words(
    """
    val valid validation eval test
    """
)
TIMES = _words(
    """
    time seconds secs sec ms minutes hours
    """
)
LIMITS = _words(
    """
    max min limit hop window timeout warmup target budget pin grad z aux moe router balance load label
    """
)
"""Before the word of a result or of a time, they make a knob of it: a weight of the loss, a limit."""
CHOICES = _words(
    """
    weight weights coef coefficient scale scaling fn func function type kind alpha beta gamma lambda
    reduction name factor clip smoothing step steps every interval freq frequency fraction ratio split
    size batch
    """
)
"""At the end of a name, they make a knob of it."""
EXACT = _words(
    """
    step global_step last_step steps_done final_step stopped_epoch best_step best_epoch status state
    diverged converged
    complete completed finished done failed crashed success samples_seen tokens_seen total_flos
    objective outcome top1 top5 top_1 top_5 r2 map memory mem vram memory_gb mem_gb vram_gb peak_memory
    peak_memory_gb peak_mem_gb val eval test train grad_norm grad_norm_mean
    value result cost train/global_step _step num_tokens_seen
    """
)
RATES = re.compile(
    r"((tokens|samples|steps|it|iters|tok)_?(per|/)_?(s|sec|second)(?![a-z]))|"
    r"(^|[._/])(f1|r2|miou|gsm8k|wall_clock|win_rate|bits_per_char)([._/]|$)|"
    r"(peak|gpu|cpu)_?mem(ory)?(_?(gb|mb))?$|^mem(ory)?_?mb$",
    re.IGNORECASE,
)
"""Names that are no single words."""
FOLDERS = re.compile(r"(final|least|points|summary|metrics?)[./].+", re.IGNORECASE)
NAMES = re.compile(
    r"|unnamed.*|(.*[._/\- ])?(id|uuid|hash|sha|sha1)|(run|trial|job|wandb|task|experiment)?[._/\- ]?"
    r"(name|number|index|idx|no)|run|trial|job|row|file|path|log|log_?file|url|notes?|description|comment|"
    r"created(_at|_ts)?|started(_at)?|finished_at|_?timestamp|datetime(_start|_complete)?|date|"
    r"(git[._])?commit|user|host|hostname|machine|tags?|port|pid|"
    r"output_?dir|run_?dir",
    re.IGNORECASE,
)
SHARED = re.compile(
    r"(.*[._/\- ])?((random|rng|data|init|global)?_?seeds?(_?idx|\d+)?|random_state|campaign|sweep|sweep_?id|"
    r"study|project|experiment|(cv_?)?fold|rep|repeat|repetition|replicate|replica|"
    r"cohort|fingerprint)|cell|group",
    re.IGNORECASE,
)
SCALE = re.compile(
    r"(.*[._/\- ])?(n_?params|params|parameters|model_?size|size|scale|rung|n_?non_?embedding|flops|compute|"
    r"width|d_?model|n_?embd|hidden_?size|tokens|n_?tokens)",
    re.IGNORECASE,
)


def is_result(name: str) -> bool:
    """Whether a column of numbers was measured, by its name."""
    words = [one.lower() for one in PARTS.findall(name)]
    if name.lower() in EXACT or FOLDERS.fullmatch(name) or RATES.search(name):
        return True
    plain = [one for one in words if not one.isdigit()]
    if not plain or (plain[0] in LIMITS and len(plain) < 3):  # z_loss, max_seconds
        return False
    if plain[-1] in ("allocated", "reserved"):
        return "memory" in plain or "mem" in plain
    while len(plain) > 1 and plain[-1] in STATISTICS:
        plain.pop()
    last, before = plain[-1], plain[-2] if len(plain) > 1 else ""
    if last in RESULTS:
        return before not in LIMITS
    if last in TIMES:
        return not {*plain[:-1]} & LIMITS
    if plain[0] in RESULTS or (plain[0] in SPLITS and len(plain) > 1 and plain[1] in RESULTS):
        return last not in CHOICES and before not in CHOICES
    # Losses at a step: loss_1000, val@500.
    return plain[0] in SPLITS and len(words) > len(plain) and {*plain[1:]} <= {"at", "step", "steps", "k"}


def is_name(name: str) -> bool:
    return bool(NAMES.fullmatch(name.strip()))


def is_shared(name: str) -> bool:
    return bool(SHARED.fullmatch(name))


def is_scale(name: str) -> bool:
    return bool(SCALE.fullmatch(name))


def is_count(labels: Sequence[str]) -> bool:
    """Whether a column numbers the rows."""
    first = labels[0] if labels else ""
    return first in ("0", "1") and all(one == str(place + int(first)) for place, one in enumerate(labels))
