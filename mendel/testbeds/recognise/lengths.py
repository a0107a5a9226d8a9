"""How long a trainer trains, how often it evaluates, how large its model is: by the names of its knobs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.knob import Knob, Knobs
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.said import Said
from mendel.testbeds.recognise.source import literal, once

STEPS = (
    *(
        "max_iters",
        "max_steps",
        "num_steps",
        "num_iterations",
        "num_iters",
        "n_iterations",
        "n_iters",
        "train_steps",
    ),
    *("total_steps", "n_steps", "training_steps", "num_train_steps", "num_training_steps", "max_train_steps"),
    *(
        "train_iters",
        "max_iterations",
        "total_iters",
        "total_iterations",
        "iterations",
        "iters",
        "steps",
        "nsteps",
    ),
    *(
        "max_iter",
        "max_step",
        "optimizer_steps",
        "num_updates",
        "max_updates",
        "total_train_steps",
        "num_opt_steps",
    ),
    *("max_training_steps", "stop_iter", "train_iterations", "num_train_iters", "n_train_steps", "niters"),
    *(
        "num_scheduled_iterations",
        "training_iterations",
        "num_training_iterations",
        "max_optimizer_steps",
        "num_batches",
    ),
)
TOKENS = (
    *(
        "max_tokens",
        "total_tokens",
        "train_tokens",
        "num_tokens",
        "n_tokens",
        "token_budget",
        "max_train_tokens",
    ),
    *("training_tokens", "num_train_tokens", "target_tokens", "n_train_tokens", "tokens"),
)
SECONDS = (
    *("time_budget", "time_budget_seconds", "time_budget_s", "time_limit", "max_seconds", "train_seconds"),
    *("max_time", "budget_seconds", "max_train_seconds", "wall_clock_limit", "time_limit_seconds", "seconds"),
    *("max_wallclock_seconds", "training_seconds", "train_time_seconds", "max_runtime"),
)
EPOCHS = ("num_train_epochs", "num_epochs", "max_epochs", "n_epochs", "epochs", "total_epochs")
HORIZON = re.compile(
    r"^(lr_)?(decay|schedule|scheduler|anneal|cosine|horizon|total_lr|max_lr)_?(lr_)?(iters|steps|iterations|horizon)$|^t_max$"
)
EVALUATE = (
    *(
        "eval_interval",
        "eval_every",
        "val_every",
        "eval_freq",
        "val_interval",
        "val_loss_every",
        "eval_steps",
    ),
    *("valid_every", "eval_period", "validate_every", "val_freq", "eval_iter", "eval_step", "evaluate_every"),
    *(
        "val_check_interval",
        "valid_interval",
        "eval_every_n_steps",
        "validation_interval",
        "val_steps_interval",
    ),
    *("validation_every", "valid_freq", "test_every", "eval_frequency", "test_interval"),
)
OUT = (
    *("out_dir", "output_dir", "outdir", "run_dir", "save_dir", "log_dir", "logdir", "work_dir", "workdir"),
    *("results_dir", "output_folder", "experiment_dir", "exp_dir", "dump_folder", "run_folder"),
    *(
        "out",
        "output",
        "checkpoint_dir",
        "ckpt_dir",
        "save_path",
        "output_path",
        "out_path",
        "checkpoint_path",
    ),
    *("default_root_dir", "folder"),
)
FOLDERS = 15
"""So many of them are surely folders, also as names of constants."""
DEVICE = ("device", "device_type", "accelerator", "dev")
SMALL = {
    **dict.fromkeys(
        ("n_layer", "n_layers", "num_layers", "depth", "layers", "num_hidden_layers", "num_blocks"), 4
    ),
    **dict.fromkeys(
        (
            "n_embd",
            "d_model",
            "dim",
            "hidden_size",
            "width",
            "embed_dim",
            "n_embed",
            "hidden_dim",
            "model_dim",
        ),
        128,
    ),
    **dict.fromkeys(("n_head", "n_heads", "num_heads", "heads", "num_attention_heads"), 4),
    **dict.fromkeys(
        (
            "block_size",
            "seq_len",
            "context_length",
            "max_seq_len",
            "sequence_length",
            "seq_length",
            "context",
            "ctx_len",
        ),
        64,
    ),
    **dict.fromkeys(("batch_size", "device_batch_size", "micro_batch_size", "train_batch_size"), 32),
    **dict.fromkeys(("warmup_iters", "warmup_steps", "lr_warmup_steps", "num_warmup_steps"), 20),
}
"""Knob -> a value that suits a CPU; it is set where the default is larger."""
JUDGED = ("eval_iters", "eval_batches", "val_batches", "max_val_steps", "eval_max_batches")
"""Knobs for how many batches one evaluation takes."""
FEW, MANY = 20, 50
"""Batches that a dear evaluation is cut to; from which on it is dear where a run is not counted in steps."""
PLAIN: dict[str, bool | str | int] = {
    **dict.fromkeys(("compile", "torch_compile", "use_compile", "compile_model"), False),
    **dict.fromkeys(("wandb_log", "wandb", "use_wandb", "log_wandb", "wandb_enabled"), False),
    **dict.fromkeys(
        ("gradient_accumulation_steps", "grad_accum_steps", "grad_accum", "accumulate_grad_batches"), 1
    ),
}
"""Knob -> what it must be for a run on a CPU that talks to nobody, where its default is of that kind."""


@dataclass(frozen=True)
class Length:
    """What a run's budget is counted in, and the knob that is told it."""

    budget: str
    knob: Knob
    epochs: bool = False
    default: float = 0.0


def find_length(knobs: Knobs) -> Length | None:
    """The knob for the length of a run: steps, tokens, seconds, or epochs; options before constants."""
    for constants in (False, True):
        for budget, names in (("steps", STEPS), ("tokens", TOKENS), ("seconds", SECONDS)):
            knob = knobs.find(names, constants)
            if knob and (knob.is_argument or _number(knob) or knob.value == "None"):
                return Length(budget, knob, default=_number(knob))
    knob = knobs.find(EPOCHS)
    return Length("steps", knob, True, _number(knob)) if knob else None


def _number(knob: Knob) -> float:
    value = knob.default
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def horizons(knobs: Knobs, length: Length) -> list[Knob]:
    """Knobs that must move with the length of a run: those of a schedule's end."""
    return [one for one in knobs.arguments if HORIZON.match(one.name) and one != length.knob]


def budgets(length: Length, cards: int) -> tuple[float, float, str]:
    """Budgets of two rungs, and why."""
    default = int(length.default)
    if length.epochs:
        return 1, 4, "A step is an epoch here: the trainer counts nothing finer."
    least = {"steps": 50, "tokens": 10_000, "seconds": 5}[length.budget]  # below, it shows that it runs
    small = {"steps": 1000, "tokens": 2_000_000, "seconds": 600}[length.budget] * (10 if cards else 1)
    if least <= default <= small:
        return default, 4 * default, "The first rung is the trainer's own length, the second four times it."
    first = {"steps": 200, "tokens": 500_000, "seconds": 60}[length.budget] * (5 if cards else 1)
    told = f"The trainer's own length is {default:,}. " if default > 0 else ""
    return first, 4 * first, f"{told}A small ladder to begin with; the longer a run, the more it says."


def small(knobs: Knobs) -> dict[str, bool | int | float | str]:
    """Overrides that keep a run small, and on a CPU, where the defaults are for larger machines."""
    found: dict[str, bool | int | float | str] = {}
    for knob in knobs.arguments:
        if knob.own:  # `set` gives it as all others are given
            continue
        if knob.switch or knob.default is None:
            if knob.name == "dtype" and not knob.switch and knob.default is None:
                found[knob.key] = "float32"
            continue
        limit = SMALL.get(knob.name)
        if limit is not None and isinstance(knob.default, int) and knob.default > limit:
            found[knob.key] = limit
        if (
            knob.name in PLAIN
            and type(PLAIN[knob.name]) is type(knob.default)
            and knob.default != PLAIN[knob.name]
        ):
            found[knob.key] = PLAIN[knob.name]
        if knob.name == "dtype" and knob.default in ("bfloat16", "float16", "bf16", "fp16"):
            found[knob.key] = "float32" if str(knob.default).endswith("float16") else "fp32"
    return found


def cut_evaluation(knobs: Knobs, length: Length | None, first: float) -> Knob | None:
    """The knob for the size of an evaluation, where that takes long beside a run of the first rung; a trainer
    that is small as it is has chosen it for such runs."""
    knob = knobs.find(JUDGED, constants=False)
    if knob is None or knob.own or not isinstance(knob.default, int) or (length and first == length.default):
        return None
    steps = length is not None and length.budget == "steps" and not length.epochs
    return knob if knob.default > (max(FEW, first / 4) if steps else MANY) else None


def evaluates_last(repo: Repository, entry: Entry, interval: Knob, steps: Knob | None) -> bool:
    """Whether an evaluation every `{steps}` steps is one at the end of the run, as far as the loop shows."""
    name = interval.name
    ends = steps.name if steps else "max_iters"
    for path in (entry.path, *repo.imported(entry.path)):
        tree, text = repo.tree(path), repo.text(path)
        for test in _tests(tree, text, name):
            if re.search(r"last|final|\+ ?1\)? ?%|is_end|done", test) or ends in test:
                return True
            past = rf"range\([^)]*{ends} ?\+ ?1|> ?(\w+\.)*{ends}\b|<= ?(\w+\.)*{ends}\b"
            if re.search(past, text):
                return True
    return False


def literal_interval(repo: Repository, metric: Said, often: int) -> dict[str, str]:
    """An edit of a condition such as `step % 500 == 0` around what tells the loss, where a short run does not
    meet it; empty where it would, or evaluates at the end."""
    tree, text = repo.tree(metric.path), repo.text(metric.path)
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.If)] if tree else []
    around = [node for node in tests if node.lineno <= metric.line <= (node.end_lineno or 0)]
    for node in reversed(around):
        said = ast.unparse(node.test)
        found = re.findall(r"% (\d+) ==", said)
        if not found or re.search(r"last|final|done|\bor\b", said) or int(found[0]) <= 2 * often:
            continue
        search = once(text, node.test)
        replaced = re.sub(rf"%\s*{found[0]}\b", f"% {often}", search, count=1)
        if search and replaced != search:
            return {"path": metric.path, "search": search, "replace": literal(replaced)}
    return {}


def _tests(tree: ast.AST | None, text: str, name: str) -> Iterator[str]:
    """Conditions that an evaluation depends on, as written."""
    for node in ast.walk(tree) if tree else ():
        if (
            isinstance(node, ast.If)
            and name in (said := ast.unparse(node.test))
            and "%" in said
            or isinstance(node, ast.Assign)
            and name in (said := ast.unparse(node.value))
            and "%" in said
        ):
            yield said
