"""State carried from one check to the next: accumulated evidence, and the position in the store."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import field

from driftbell.records.degradation import ChangePoint, Suspect


class ColumnCondition(msgspec.Struct, frozen=True, omit_defaults=True):
    """Values of one column that are suspected.

    Attributes:
        column: its name.
        kind: `null`, `unseen` category, `outside` the range from `low` to `high`, `frozen` at `low`, `any`
            value, or an `answer` that the model never gave on the reference.
        low: see `kind`.
        high: see `kind`.
    """

    column: str
    kind: str
    low: float = 0.0
    high: float = 0.0


class BlindSpot(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows of a block with a loss that an estimate without labels cannot tell.

    Attributes:
        share: their share of the rows.
        column: names of the features, as words of a sentence.
        reason: `outside` the range of the reference, `unseen` categories, an `answer` that the model never
            gave on it, `moved`, `broken` or `rounded` values, `one category` in all rows, values
            `unrelated` to the other features, one row that is `repeated`, or all rows, which `similar rows`
            of the reference contradict, or of which slow `swings` of the error hide a loss.
        loss: the largest loss of the block that fits; None without a bound.
        conditions: the rows, which labels must cover to decide.
    """

    share: float
    column: str
    reason: str
    loss: float | None = None
    conditions: tuple[ColumnCondition, ...] = ()


class BlockSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """One block of rows on a CUSUM chart.

    Attributes:
        rows: number of rows.
        loss: mean error of its rows above the baseline.
        first: time of its first row (UTC).
        last: time of its last row (UTC).
        blind: rows with a loss that the estimate cannot tell; None if it explains the block.
        low: the smallest loss that fits the data, without noise; None for the loss itself.
        high: the largest one.
        after_change: whether the rows differ from those before in the same block of predictions.
    """

    rows: int
    loss: float
    first: datetime
    last: datetime
    blind: BlindSpot | None = None
    low: float | None = None
    high: float | None = None
    after_change: bool = False


class ShiftTest(msgspec.Struct, frozen=True):
    """Tests whether the shares of the classes have changed in a block, and nothing else.

    Attributes:
        chance: p-value of unchanged shares.
        fit: p-value of features and answers if only the shares have changed.
    """

    chance: float
    fit: float


class Suspicion(msgspec.Struct, frozen=True, omit_defaults=True):
    """Suspected rows, and the labels that cover them.

    Attributes:
        since: time of the first row of the first block with this suspicion (UTC).
        conditions: rows that fit any of them are suspected.
        labels: number of labels of suspected rows.
        errors: the sum of their errors.
        rows: number of predictions since then.
        suspected: number of suspected rows among them.
        counted: number of labels of suspected rows that count as those of all rows.
        others: number of labels of other rows since then.
        elsewhere: estimated loss of the newest block by its other rows, less its noise.
        of_others: estimated loss of all rows since then by the other rows, below zero if these are easier.
        until: time of the last row (UTC); None while the rows are suspected.
        absent: number of the newest predictions in blocks without any of the conditions.
        label_blocks: labels of suspected rows in the order of their arrival, with their mean error.
    """

    since: datetime
    conditions: tuple[ColumnCondition, ...]
    labels: int = 0
    errors: float = 0.0
    rows: int = 0
    suspected: int = 0
    counted: int = 0
    others: int = 0
    elsewhere: float = 0.0
    of_others: float = 0.0
    until: datetime | None = None
    absent: int = 0
    label_blocks: tuple[BlockSummary, ...] = ()

    @property
    def share(self) -> float:
        """Share of the suspected rows; 1 if it is not known."""
        return self.suspected / self.rows if self.rows else 1.0

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the suspected columns."""
        return tuple(dict.fromkeys(condition.column for condition in self.conditions))


class SourceState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The CUSUM charts of one source of evidence.

    Attributes:
        sums: the cumulative sum of each chart.
        score: the largest sum in units of its decision threshold; None before the first block.
        blocks: the newest blocks, oldest first; none from before the end of an earlier loss.
        raised: whether the score has reached 1 since the sums were zero.
        lasting: blocks since then, with the first that reached it.
        usual: number of labels that tell the usual error, and their mean loss, see `usual_labels`.
    """

    sums: tuple[float, ...] = ()
    score: float | None = None
    blocks: tuple[BlockSummary, ...] = ()
    raised: bool = False
    lasting: int = 0
    usual: tuple[int, float] = (0, 0.0)


class PendingLabels(msgspec.Struct, frozen=True, omit_defaults=True):
    """Labels that wait for a block, which has a fixed number of them.

    Attributes:
        count: number of labels.
        errors: the sum of their errors.
        first: time of the oldest labelled prediction (UTC).
        last: time of the newest one (UTC).
        excess: the part of the errors that the charts do not count.
    """

    count: int = 0
    errors: float = 0.0
    first: datetime | None = None
    last: datetime | None = None
    excess: float = 0.0


class BlockExplanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Explanation of the newest block.

    Attributes:
        why: basis of its estimate.
        suspects: columns that probably cause the loss.
        segment: conditions that describe the rows with the largest loss, or "".
        to_label: ids of predictions to label, in order to confirm or refute the loss.
    """

    why: str = ""
    suspects: tuple[Suspect, ...] = ()
    segment: str = ""
    to_label: tuple[str, ...] = ()


class EvidenceState(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Evidence of degradation.

    Attributes:
        seq: sequence number of the newest counted prediction; 0 before the first.
        label_seq: that of the newest counted label.
        rows: predictions counted, each once.
        labelled: labels counted.
        estimate: charts of the estimated loss.
        labels: charts of the labels.
        data_quality: score of broken values; None before the first block.
        broken_since: first and last row of the first of the newest blocks that broken values alarm in (UTC);
            None if the newest block does not alarm.
        alarm: whether the last result was an alarm.
        opened: time of the newest row (UTC) when the alarm opened; None without one.
        change: newest estimate of the change that opened the alarm; None without one.
        contradicted: whether labels contradicted the estimate of the newest block, which then opens no alarm.
        pending: labels that wait for a block.
        moved: features that seemed to have moved in the newest block, by place.
        unconfirmed: errors that count once the next block confirms that these features have moved.
        explanation: of the newest block.
        suspicion: suspected rows of the newest block; None if no column is suspected.
        ended: the newest suspicions of a part of the rows that have ended, of which labels may arrive.
        pace: mean seconds between two rows; 0 before the first block, and if the budget is one of blocks.
        unknown_labels: number of labels that are no class of the model since the charts of the labels were
            zero, by label.
        different: share of the rows of the newest block that are no copies of a row before them.
        shifts: tests of the newest blocks in which the shares of the classes may have changed.
    """

    seq: int = 0
    label_seq: int = 0
    rows: int = 0
    labelled: int = 0
    estimate: SourceState = field(default_factory=SourceState)
    labels: SourceState = field(default_factory=SourceState)
    data_quality: float | None = None
    broken_since: tuple[datetime, datetime] | None = None
    alarm: bool = False
    opened: datetime | None = None
    change: ChangePoint | None = None
    contradicted: bool = False
    pending: PendingLabels = field(default_factory=PendingLabels)
    moved: tuple[int, ...] = ()
    unconfirmed: float = 0.0
    explanation: BlockExplanation = field(default_factory=BlockExplanation)
    suspicion: Suspicion | None = None
    ended: tuple[Suspicion, ...] = ()
    pace: float = 0.0
    unknown_labels: dict[str, int] = field(default_factory=dict)
    different: float = 1.0
    shifts: tuple[ShiftTest, ...] = ()

    def restarted(self) -> EvidenceState:
        """Return an empty state at the same position in the store, with the same traffic."""
        return EvidenceState(seq=self.seq, label_seq=self.label_seq, pace=self.pace)


class RefusedCount(msgspec.Struct, frozen=True, omit_defaults=True):
    """Refused rows that a check has counted.

    Attributes:
        day: its date (UTC), such as 2026-01-31.
        seq: sequence number of the newest prediction of its window.
        rows: rows and refused rows of each entry of that day, by the entry's number.
        time: its time (UTC); None if an earlier release has written it.
    """

    day: str
    seq: int
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    time: datetime | None = None


class CheckState(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """State of a check, private to the monitor.

    Attributes:
        reference: version of the reference that the evidence is measured against.
        evidence: evidence of degradation.
        drift: since which row there is evidence of drift, by column; see `driftbell.drift.judge`.
        annotated: time of the newest annotation that was applied (UTC).
        warnings: problems of the model or its reference.
        counted: position of the count of refused rows; None before the first check.
        logged: what the log keeps of features, see `LoggedValues.id`; "" for everything.
        since: sequence number of the last prediction before that changed; 0 if it never did.
    """

    reference: str = ""
    evidence: EvidenceState = field(default_factory=EvidenceState)
    drift: dict[str, int] = field(default_factory=dict)
    annotated: datetime | None = None
    warnings: tuple[str, ...] = ()
    counted: RefusedCount | None = None
    logged: str = ""
    since: int = 0
