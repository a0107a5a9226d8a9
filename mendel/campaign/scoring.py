"""How one run is scored: the sessions of its job, and what they find.

The first session asks for the probabilities of the text, audits mixed in. The second, in a fresh process,
asks for whole distributions after prefixes that do not hold their targets, and compares. The code under test
answers both; nothing that it says of itself is used.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mendel.probes import SPANS, probe
from mendel.records import Audit, PlanKind, RunResult, RunSpec, RunStatus, Shard, Skill
from mendel.runs import Scorer
from mendel.yardstick import (
    Answers,
    Corpus,
    ScoringError,
    Violation,
    ask_prefixes,
    ask_stream,
    check_log,
    check_prefixes,
    check_stream,
    log_probabilities,
    read_tokenizer,
    scan_output,
    windows,
)

SCORE_WINDOWS = 128
SMOKE_WINDOWS = 8
TRAIN_WINDOWS = 16
SCORE_LENGTH = 512
POSITIONS = 64
"""Prefixes asked of a run, one of many of its idea."""
PROBE = "probe"
"""Stage of runs that are trained to be probed: `mendel probe`."""
CLAIMED = (PlanKind.CONFIRM, PlanKind.HALVES, PlanKind.ESTIMATE, PlanKind.VERIFY)
"""Stages whose runs stand behind what is claimed."""
PROBED = (*CLAIMED, PROBE)
"""Stages whose runs are asked for their skills. Screening buys many more runs, for choosing alone."""
AUDITED = (*CLAIMED, PlanKind.RECHECK, PlanKind.CLIMB)
"""Stages whose runs are asked about training text and canaries and, but for most controls, have a second
session and their output searched: all whose numbers are published. A seed tells code which stage it is in, so
none of these may be easier than another."""

T = TypeVar("T")


class Text:
    """What runs are scored on. Each opening of the held-out shard is recorded for the run it is for."""

    def __init__(self, corpus: Corpus, on_held_out: Callable[[str], None]) -> None:
        self.corpus, self._on_held_out = corpus, on_held_out
        self._windows: dict[Shard, Any] = {}
        self._train: Any = None

    def shard(self, shard: Shard, run: str = "") -> Any:
        """Windows of a shard, (count, length + 1) bytes."""
        if shard is Shard.HELD_OUT:
            self._on_held_out(run)
        if shard not in self._windows:
            self._windows[shard] = windows(self.corpus.shard_text(shard), SCORE_WINDOWS, SCORE_LENGTH, seed=0)
        return self._windows[shard]

    def others(self, shard: Shard) -> Any:
        """More text of a shard that is open, from between its windows: how audited rows go on."""
        return windows(self.corpus.shard_text(shard), SCORE_WINDOWS, SCORE_LENGTH, seed=1)

    def beside(self, shard: Shard) -> dict[str, Any]:
        """What audited runs are asked about besides: training text, and this shard's canaries and decoys."""
        if self._train is None:
            self._train = windows(self.corpus.train_text(), TRAIN_WINDOWS, SCORE_LENGTH, seed=0)
        return {"train": self._train, **self.corpus.canary_rows(shard)}


class Scoring:
    """One run being scored."""

    def __init__(
        self,
        text: Text,
        out: Path,
        spec: RunSpec | None,
        stage: str,
        trusted: bool = False,
        own_objective: bool = False,
    ) -> None:
        """`spec` is None for smoke runs, which see a few windows of the validation shard. A `trusted` run
        is of what the campaign stands on already. `own_objective`: the patch changes what a step descends,
        so that the losses it logs have a scale of their own."""
        self._text, self._out, self._spec, self._stage = text, out, spec, stage
        self._compared = spec is not None and stage in AUDITED
        self._audited = (self._compared and not trusted) or spec is None
        self._own_objective = own_objective
        self._skills: dict[str, Skill | None] = {}
        self._audits: list[Audit] = []
        self._answers: Answers | None = None
        self._windows: Any = None
        self._asked = False
        self._audit_seconds = 0.0
        self._beside: dict[str, float] = {}
        self._by_window: tuple[float, ...] = ()

    @property
    def sessions(self) -> tuple[Scorer, ...]:
        """One after the other, each with a process of its own."""
        return (self._stream, self._prefixes) if self._audited else (self._stream,)

    def complete(self, result: RunResult) -> RunResult:
        """`result` with all that was found beside the score, its log among it."""
        if not self._asked:
            return result
        if result.status is RunStatus.DONE and self._audited and self._spec is not None:
            seconds, beside = result.train_seconds, self._beside.get("train")
            self._audits.append(
                check_log(self._out, self._spec.tokens, seconds, beside, own_objective=self._own_objective)
            )
            if not self._audits[-1].passed:
                reason = f"numbers: {self._audits[-1].reason}"
                changes = {"status": RunStatus.REJECTED, "bits_per_byte": None, "reason": reason}
                result = result.model_copy(update=changes)
        found: dict[str, Any] = {"audits": tuple(self._audits), "audit_seconds": self._audit_seconds}
        if result.status is RunStatus.DONE:
            found |= {"skills": self._skills, "beside": self._beside, "windows": self._by_window}
        return result.model_copy(update=found)

    def _stream(self, channel: socket.socket) -> float:
        self._asked, self._answers, self._audits = True, None, []  # it may be scored again after a failure
        encode = read_tokenizer(self._out)
        groups: dict[str, Any] = {}
        if self._spec is None:
            self._windows = self._text.shard(Shard.VALIDATION)[:SMOKE_WINDOWS]
            if encode is None:  # probes come in sizes of their own: here a model shows that it takes them
                log_probabilities(channel, self._windows[:2, : SPANS[0] // 2])
        else:
            self._windows = self._text.shard(self._spec.shard, self._spec.id)
            groups = self._text.beside(self._spec.shard) if self._compared else {}
            if self._stage in PROBED and encode is None:  # the questions are asked in bytes
                # First, because a score ends the conversation. Probes describe: without an answer to them the
                # run still has its score, or the score says what is wrong with it.
                seed = self._spec.seed
                with contextlib.suppress(Unanswered):
                    self._skills = self._kept(lambda: _probed(channel, seed))
        others = self._text.others(self._spec.shard if self._spec else Shard.VALIDATION)
        began = time.monotonic()
        answers = self._kept(lambda: ask_stream(channel, self._windows, others, encode=encode, groups=groups))
        asked = time.monotonic()
        self._audits += self._kept(lambda: check_stream(answers))
        if self._audited:
            self._scan()
        self._audit_seconds = (asked - began) * answers.audit_share + time.monotonic() - asked
        self._beside = {name: answers.group_bits_per_byte(name) for name in groups}
        if self._compared:
            self._by_window = tuple(round(one, 6) for one in answers.window_bits_per_byte.tolist())
        self._answers = answers
        return answers.bits_per_byte

    def _prefixes(self, channel: socket.socket) -> float:
        answers = self._answers
        assert answers is not None
        began = time.monotonic()
        encode = read_tokenizer(self._out)
        asked = self._kept(
            lambda: ask_prefixes(channel, self._windows, answers, encode=encode, positions=POSITIONS)
        )
        self._audits += self._kept(lambda: check_prefixes(answers, asked))
        self._audit_seconds += time.monotonic() - began
        return answers.bits_per_byte

    def _scan(self) -> None:
        """Search what the run left. The conversation is over, so nobody's clock runs."""
        found = scan_output(self._out, self._text.corpus)
        self._audits.append(found)
        if not found.passed:
            raise Violation(found)

    def _kept(self, ask: Callable[[], T]) -> T:
        """What `ask` returns; the audits of a violation that it raises are kept."""
        try:
            return ask()
        except Violation as violation:
            self._audits += violation.audits
            raise


def has_own_objective(tree: Mapping[str, str], original: Mapping[str, str]) -> bool:
    """Whether a source has a line about a loss that the `original` has not, up to the last backward pass of
    its file: what comes after it changes what is logged and not what is learned."""
    known = {line for text in original.values() for line in text.splitlines()}
    new = {line for text in tree.values() for line in _learned(text).splitlines()} - known
    return any("loss" in line for line in new)


def _learned(text: str) -> str:
    """A source file up to its last backward pass."""
    before, found, after = text.rpartition("backward(")
    return before + found + after.partition("\n")[0] if found else text


class Unanswered(Exception):
    """A probe got no usable answer."""


def _probed(channel: socket.socket, seed: int) -> dict[str, Skill | None]:
    """Skills. Unanswered where the model gives none; Violation where its answers are no probabilities."""
    try:
        return probe(lambda rows: log_probabilities(channel, rows), seed)
    except Violation:
        raise
    except ScoringError as error:
        raise Unanswered from error
