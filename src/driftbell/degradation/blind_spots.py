"""Blind spots: rows of a block with a loss that an estimate without labels cannot tell, and its bound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.broken_values import MAX_RARITY, MIN_EXCESS, DataFault
from driftbell.degradation.column_changes import ColumnChanges, ColumnTests
from driftbell.degradation.data_faults import Diagnosis, repeated_rows
from driftbell.degradation.outside_range import OutsideRange
from driftbell.degradation.possible_losses import BlockEstimate, Explanation, PossibleLoss
from driftbell.degradation.rare_values import chance_of_excess, singletons
from driftbell.degradation.reference_models import ReferenceModels, Vector
from driftbell.degradation.relations import MIN_FIT, BlockRelations, Relations
from driftbell.degradation.rounded_values import RoundedValues
from driftbell.degradation.row_mix import RowMix
from driftbell.degradation.stuck_values import CONSTANT
from driftbell.phrases import join_names
from driftbell.records import PREDICTION_COLUMN, BlindSpot, ColumnCondition

MIN_IMPORTANCE, IMPORTANCE_SHARE = 0.05, 0.5
"""Values that the reference lacks matter in features with this importance, or with this share of the
importance that all would have if they were equal."""

MIN_USED = 0.01
"""Features with a smaller importance change no answers."""

MAX_SINGLES = 2
"""Moved features, the most important ones, that are also put back one at a time."""

ONE_SIDED = 1.645

MAX_CHANCE = 1e-6
"""Changed values are wrong if their relation to the other features has at most this p-value."""


class BlindSpots:
    """Search for the losses that fit a block, and for rows with a loss that only labels show.

    An estimate without labels is right if the inputs are what they seem. Where they have changed, other
    explanations fit as well: values that have moved by mistake, or that do not belong to their rows. Each
    explanation has a loss. If the largest one matters and the estimate does not show it, nobody can tell
    without labels. Values that the reference lacks have no estimate at all.

    The models of the label know less than the monitored model: on unchanged rows their expected error is too
    high by a bias. Where a wrong feature changes the answers, the monitored model loses this knowledge, and
    the bias vanishes. So the loss of an explanation is at most the expected error minus the true one of
    unchanged rows; see `loss_factor` for the likely one.

    Args:
        learned: models fitted on the reference.
        row_mix: control variate of expected errors.
        by_features: mean error on unchanged rows by the models of the label.
        error: the measured mean error on unchanged rows; None without labels.
        smallest_loss: the smallest loss that matters.
        loss_factor: from a loss by the models of the label to that of the monitored model.

    Attributes:
        tests: of all features against the reference.
        outside: search for rows of a regression outside the range of the reference.
        rounded: search for rounded features.
    """

    def __init__(
        self,
        learned: ReferenceModels,
        row_mix: RowMix,
        *,
        by_features: float,
        error: float | None,
        smallest_loss: float,
        loss_factor: float = 1.0,
    ) -> None:
        self._row_mix = row_mix
        self._learned, self._by_features = learned, by_features
        self._bias = 0.0 if error is None else max(0.0, by_features - error)
        self._smallest_loss, self._loss_factor = smallest_loss, loss_factor
        self._names = learned.encoder.names
        count = max(1, len(self._names))
        self._important = learned.importance >= min(MIN_IMPORTANCE, IMPORTANCE_SHARE / count)
        self.outside = OutsideRange(learned)
        self._known_answers = np.unique(learned.usual_answers.values) if learned.classes else None
        self._rare_answers = singletons(learned.usual_answers.values)
        self.tests = ColumnTests(learned)
        self.rounded = RoundedValues(learned, self.tests.calendar)
        self._relations = Relations(learned, self.tests.calendar, self.tests.overdispersion)

    def find(self, block: BlockEstimate) -> PossibleLoss:
        """Return the losses that fit a block, and the blind spot with the largest one.

        Args:
            block: with its estimated loss.
        """
        only = PossibleLoss(block.loss, block.loss)
        if not len(block.answers):
            return only
        outside = self.outside(block.matrix)
        if outside:
            return replace(only, blind=outside)
        repeated = repeated_rows(block.matrix, block.diagnosis)
        if repeated is not None:  # what else is unusual about the block follows from that
            share, loss = round(float(repeated.mean()), 4), self._largest_loss(block, repeated)
            return replace(
                only, blind=BlindSpot(share, join_names(self._names, max_names=3), "repeated", loss)
            )
        explanations = list(self._explanations(block))
        raw = block.diagnosis.by_features if block.diagnosis else None
        if explanations and raw is None:
            raw = block.estimated.errors()
        spots: list[BlindSpot | None] = [
            *self._novel(block),
            *self._new_answers(block),
            *self._too_sure(block),
        ]
        of_each = [] if raw is None else [(e, self._spot(block, e, raw)) for e in explanations]
        spots += [spot for e, spot in of_each if raw is not None and self._is_likely(e, raw)]
        relevant = [s for s in spots if s and (s.loss or 0.0) > max(self._smallest_loss, block.loss)]
        blind = _with_largest_loss(relevant)
        lasting = _with_largest_loss([spot for _, spot in of_each if spot])
        relations = BlockRelations(self._relations, block.matrix)
        certain = self._certain(block, explanations, relations)
        if certain:
            least = min(certain, key=self._likely_loss)
            losses = [self._loss_of(e) for e in certain]
            likely = self._likely_loss(least)
            low = max(likely - self._excess_as_answered(least, raw), min(likely, block.by_confidence))
            return PossibleLoss(low, max(losses), blind, least.errors, lasting)
        low, high = self._range(block, explanations, raw, relations)
        return PossibleLoss(low, high, blind, lasting=lasting)

    def _certain(
        self, block: BlockEstimate, explanations: Sequence[Explanation], relations: BlockRelations
    ) -> list[Explanation]:
        """Return the explanations that fit if moved values cannot be real; none if they can."""
        faults = block.diagnosis.faults if block.diagnosis else ()
        changed = tuple(dict.fromkeys(j for e in explanations if e.repaired is not None for j in e.places))
        if all(e.chance > MAX_CHANCE for e in explanations):
            if not changed or any(fault.kind != "outside" for fault in faults):
                return []
            chance = relations.chance(changed, changed)
            if chance is None or chance > MAX_CHANCE:
                return []
        certain, none = [], np.zeros(len(block.matrix), dtype=bool)
        noisy = {e.places for e in explanations if e.chance <= MAX_CHANCE and e.relation < MIN_FIT}
        for e in explanations:
            if e.repaired is None or (e.reason == "moved" and e.places in noisy):
                continue
            if e.chance < 1 or self._repairs_relations(relations, changed, e):
                errors = self._row_mix.remove(e.errors, e.repaired, none, frozenset())
                certain.append(replace(e, errors=errors))
        return certain

    def _may_be_real(
        self, block: BlockEstimate, explanations: Sequence[Explanation], relations: BlockRelations
    ) -> bool:
        """Return whether features that seem to have moved still have their relation to the others."""
        if block.diagnosis is None or block.diagnosis.broken:
            return False
        repaired = block.diagnosis.repairs
        changed = tuple(dict.fromkeys([*repaired, *(j for e in explanations for j in e.places)]))
        chance = relations.chance(changed, repaired)
        return chance is not None and chance >= MIN_FIT

    def _repairs_relations(
        self, relations: BlockRelations, changed: tuple[int, ...], explanation: Explanation
    ) -> bool:
        """Return whether all relations are as before if only the features of an explanation are wrong."""
        if explanation.repaired is None:
            return False
        rest = tuple(j for j in changed if j not in explanation.places)
        chance = relations.chance(changed, rest)
        if chance is not None and chance < MIN_FIT:
            return False
        chance = relations.chance_put_back(changed, explanation.places, explanation.repaired)
        return chance is None or chance >= MIN_FIT

    def is_unused(self, diagnosis: Diagnosis) -> bool:
        """Return whether all faults are frozen values of features on which the answers do not depend.

        A frozen feature changes about as many answers as a shuffled one, which is its importance.
        """
        faults = diagnosis.faults
        importance = sum(self._learned.importance[place] for place in {fault.place for fault in faults})
        return importance < MIN_USED and all(fault.kind == "frozen" for fault in faults)

    def _are_unused(self, block: BlockEstimate) -> bool:
        return block.diagnosis is not None and self.is_unused(block.diagnosis)

    def loss_by_features(self, errors: Vector) -> float:
        """Return the loss of rows with these expected errors by the models of the label."""
        loss = float(errors.mean()) - self._by_features
        return self._loss_factor * loss if loss > 0 else loss

    def _likely_loss(self, explanation: Explanation) -> float:
        return self.loss_by_features(explanation.errors)

    def _excess_as_answered(self, explanation: Explanation, raw: Vector | None) -> float:
        """Return the part of a loss by noise that is none, since the answers do not follow the noisy values.

        Answers that follow a noisy feature look right beside its values as they are. If they look wrong
        there as well, the monitored model uses the feature less than the models of the label do.
        """
        if explanation.reason != "unrelated" or raw is None:
            return 0.0
        noise = ONE_SIDED * float(raw.std()) / len(raw) ** 0.5
        excess = float(raw.mean()) - self._by_features - noise
        return self._loss_factor * excess if excess > 0 else 0.0

    def _range(
        self,
        block: BlockEstimate,
        explanations: Sequence[Explanation],
        raw: Vector | None,
        relations: BlockRelations,
    ) -> tuple[float, float]:
        """Return the smallest and the largest loss of all explanations."""
        losses = [block.loss, *map(self._likely_loss, explanations)]
        losses += [] if block.diagnosis else [block.similar.whole_loss]
        largest = [self._loss_of(e) for e in explanations]
        faults = block.diagnosis.faults if block.diagnosis else ()
        if raw is not None and (
            not faults
            or any(fault.known for fault in faults)
            or self._are_unused(block)
            or self._may_be_real(block, explanations, relations)
        ):
            losses += [float(raw.mean()) - self._by_features, block.by_confidence]
        return min(losses), max([*losses, *largest])

    def _loss_of(self, explanation: Explanation, share_of_bias: float = 1.0) -> float:
        """Return the loss of an explanation, without the bias where its features change answers."""
        importance = max((self._learned.importance[j] for j in explanation.places), default=0.0)
        bias = self._bias * explanation.share if importance >= MIN_USED else 0.0
        loss = float(explanation.errors.mean()) - self._by_features + share_of_bias * bias
        return max(loss, self._likely_loss(explanation))

    def _novel(self, block: BlockEstimate) -> Iterator[BlindSpot]:
        """Yield the important features with values that the reference lacks: categories, or out of range."""
        broken = block.diagnosis.broken if block.diagnosis else ()
        for fault in (*broken, *self._only_rare(block)):
            if not fault.novelty or not self._important[fault.place]:
                continue
            share, loss = float(fault.rows.mean()), self._largest_loss(block, fault.rows)
            condition = ColumnCondition(self._names[fault.place], fault.kind, fault.low, fault.high)
            yield BlindSpot(round(share, 4), self._names[fault.place], fault.novelty, loss, (condition,))

    def _new_answers(self, block: BlockEstimate) -> Iterator[BlindSpot]:
        """Yield the rows with an answer that the model never gave on the reference."""
        if self._known_answers is None:
            return
        rows = ~np.isin(block.answers.values, self._known_answers)
        share, usual = float(rows.mean()), len(self._learned.usual_answers)
        if share - self._rare_answers / usual < MIN_EXCESS:
            return
        rarity = chance_of_excess(int(rows.sum()), len(rows), self._rare_answers, usual)
        if rarity < MAX_RARITY:
            condition = ColumnCondition(PREDICTION_COLUMN, "answer")
            loss = self._largest_loss(block, rows)
            yield BlindSpot(round(share, 4), PREDICTION_COLUMN, "answer", loss, (condition,))

    def _too_sure(self, block: BlockEstimate) -> Iterator[BlindSpot]:
        """Yield all rows if similar ones of the reference had more errors, and the estimate shows no loss."""
        if block.similar.is_certain and block.loss < self._smallest_loss:
            condition = ColumnCondition(PREDICTION_COLUMN, "answer")
            loss = block.similar.whole_loss
            yield BlindSpot(1.0, PREDICTION_COLUMN, "similar rows", loss, (condition,))

    def _only_rare(self, block: BlockEstimate) -> list[DataFault]:
        """Return values that are rare by the size of the reference, and too few for a fault."""
        broken = block.diagnosis.broken if block.diagnosis else ()
        return [f for f in block.rare if not any(f is other for other in broken)]

    def _largest_loss(self, block: BlockEstimate, rows: NDArray[np.bool_]) -> float:
        """Return the loss of a block if its other rows have none, and these the largest error."""
        largest = self._learned.loss.largest(block.answers.take(rows), self._learned.truth)
        return float(rows.mean()) * (float(largest.mean()) - self._by_features)

    def _explanations(self, block: BlockEstimate) -> Iterator[Explanation]:
        """Yield explanations of the block by features that may be wrong."""
        faults = block.diagnosis.faults if block.diagnosis else ()
        if block.diagnosis:
            places = tuple(dict.fromkeys(fault.place for fault in faults))
            reason = "moved" if block.diagnosis.repairs else "broken"
            used = [f for f in faults if self._learned.importance[f.place] >= MIN_USED]
            share = max((f.excess or 1.0 for f in used), default=0.0)
            yield Explanation(places, reason, block.diagnosis.errors, share)
        yield from self._rare_values(block)
        yield from self._one_category(block)
        changes = self.tests(block.matrix)
        if any(fault.kind == "frozen" for fault in faults):  # rounded values and relations follow from that
            others = tuple(j for j in changes.moved if j not in {fault.place for fault in faults})
            yield from self._moved(block, [others], faults)
            return
        rounded = self.rounded(block.matrix)
        if rounded:  # little changes in each row, so its error beside the rounded values is the usual one
            restored = self.rounded.restored(block.matrix, rounded)
            increase = block.estimated.with_columns(restored, rounded).errors() - block.estimated.errors()
            share = self.rounded.lost_share(block.matrix, restored, rounded)
            yield Explanation(rounded, "rounded", self._by_features + increase, share)
        singles = changes.moved[:MAX_SINGLES] if len(changes.moved) > 1 and not faults else ()
        yield from self._moved(block, [changes.moved, *((j,) for j in singles)], faults)
        yield from self._noise(block, changes, faults)

    def _moved(
        self, block: BlockEstimate, groups: Sequence[tuple[int, ...]], faults: Sequence[DataFault]
    ) -> Iterator[Explanation]:
        """Yield explanations by groups of features that may have moved by mistake."""
        broken = [fault.rows for fault in faults if fault.kind in ("null", "unseen", "frozen")]
        for moved in filter(None, groups):
            repaired = self.tests.without_move(block.matrix, moved)
            errors = block.estimated.with_columns(repaired, moved).errors()
            if block.diagnosis and broken:
                errors = np.where(np.logical_or.reduce(broken), block.diagnosis.errors, errors)
            yield Explanation(moved, "moved", errors, repaired=repaired)

    def _rare_values(self, block: BlockEstimate) -> Iterator[Explanation]:
        """Yield an explanation by rare values on which a model without their features tells the error."""
        rare = [f for f in self._only_rare(block) if not f.known]
        rare = [f for f in rare if not f.novelty or not self._important[f.place]]
        if not rare:
            return
        places = tuple(dict.fromkeys(f.place for f in rare))
        rows = np.logical_or.reduce([f.rows for f in rare])
        without = self._learned.error_by_features(block.matrix, block.answers, frozenset(places))
        errors = np.where(rows, without, block.estimated.errors())
        yield Explanation(places, "broken", errors, float(rows.mean()))

    def _one_category(self, block: BlockEstimate) -> Iterator[Explanation]:
        """Yield an explanation by categories that all rows share by mistake, instead of those before.

        A category that the reference has is not broken, and the model is as sure of it as of others.
        """
        repaired, places = block.matrix.copy(), []
        for j, numeric in enumerate(self._learned.encoder.numeric):
            if numeric or j in self.tests.calendar or self._learned.importance[j] < MIN_USED:
                continue
            values, counts = np.unique(block.matrix[:, j], return_counts=True)
            count, usual = int(counts.max()), self._learned.ranks(j).values
            before = float(np.mean(usual == values[counts.argmax()])) if len(usual) else 1.0
            if count >= CONSTANT * len(repaired) and before > 0 and before**count < MAX_RARITY:
                order = np.random.default_rng(j).permutation(len(repaired))
                repaired[:, j] = usual[order * len(usual) // len(repaired)]
                places.append(j)
        if places:
            errors = block.estimated.with_columns(repaired, places).errors()
            yield Explanation(tuple(places), "one category", errors)

    def _noise(
        self, block: BlockEstimate, changes: ColumnChanges, faults: Sequence[DataFault]
    ) -> Iterator[Explanation]:
        """Yield explanations by noise in a feature: the only cause of all changes, if it is known."""
        repairs = {fault.place for fault in faults if fault.scale}
        if any(not fault.scale and fault.kind != "outside" for fault in faults):
            return
        cause = self.tests.cause(block.matrix, changes) if changes.unrelated or changes.noisy else None
        wider = changes.unrelated or changes.wider_together
        places = sorted(wider, key=lambda j: -self._learned.importance[j])[:MAX_SINGLES]
        if repairs and cause not in repairs:
            return
        for j in places if cause is None else (cause,):
            replaced = self.tests.without_noise(block.matrix, changes, j)
            errors = block.estimated.with_columns(replaced, (j,)).errors()
            noise = Explanation((j,), "unrelated", errors, repaired=replaced)
            if cause is not None:
                chance = self.tests.chance_of_noise(block.matrix, changes, j)
                relation = self.tests.chance_of_relation(block.matrix, changes, j)
                noise = replace(noise, chance=chance, relation=relation)
            yield noise

    def _is_likely(self, explanation: Explanation, raw: Vector) -> bool:
        """Return whether an explanation costs a relevant loss, beyond the noise."""
        increase = explanation.errors - raw
        noise = ONE_SIDED * float(increase.std()) / len(increase) ** 0.5
        likely = max(float(increase.mean()), self._loss_of(explanation, 0.5))
        return bool(likely - noise >= self._smallest_loss)

    def _spot(self, block: BlockEstimate, explanation: Explanation, raw: Vector) -> BlindSpot | None:
        """Return the blind spot of an explanation; None for broken features without effect on the answers."""
        if explanation.reason == "broken" and self._are_unused(block):
            return None
        increase = float((explanation.errors - raw).mean())
        loss = max(block.by_confidence + increase, self._loss_of(explanation))
        names = [self._names[j] for j in explanation.places]
        conditions = tuple(ColumnCondition(name, "any") for name in names)
        return BlindSpot(
            1.0,
            join_names(names, max_names=3),
            explanation.reason,
            loss,
            () if explanation.reason == "broken" else conditions,
        )


def _with_largest_loss(spots: Sequence[BlindSpot]) -> BlindSpot | None:
    return max(spots, key=lambda spot: spot.loss or 0.0, default=None)
