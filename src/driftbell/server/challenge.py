"""Choice of the version that answers a request while there is a challenger."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from starlette.types import Scope

from driftbell.ports import Model
from driftbell.records import Value
from driftbell.records.versions import STICKY_FEATURE, STICKY_HEADER, AliasChange
from driftbell.server.predict.predictor import Predictor
from driftbell.server.predict.refusal_counter import RefusalCounter
from driftbell.tabular.pass_through import PassThrough

Row = list[Value]


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A loaded version, with the parts that are bound to it.

    Attributes:
        model: the model.
        predictor: predicts its rows.
        refusals: counts the rows that it got no answer for.
        parse_row: see `row_parser`.
        parse_passed_row: see `passed_row_parser`.
        choose: chooses the version that answers validated rows of this version, and returns it with the rows
            in its order of features; None if this version answers all.
    """

    model: Model
    predictor: Predictor
    refusals: RefusalCounter
    parse_row: Callable[[bytes], Row | None]
    parse_passed_row: Callable[[bytes], tuple[Row, PassThrough | None] | None]
    choose: Callable[[list[Row]], tuple[ServedVersion, list[Row]]] | None = None


def share_of(key: bytes, version: str) -> float:
    """Return the place of a sticky key between 0 and 1, the same in every process, replica and release.

    A key is answered by the challenger if its place is below the challenger's share: with a larger share, the
    keys of the challenger stay and others join. Every version orders the keys anew.

    >>> round(share_of(b"ada", "v2"), 3), round(share_of(b"ada", "v3"), 3)
    (0.39, 0.784)
    """
    digest = hashlib.blake2b(key, digest_size=8, key=version.encode()[:64]).digest()
    return int.from_bytes(digest) / 2.0**64


def key_of(value: Value) -> bytes | None:
    """Return a feature's value as a sticky key; None for null.

    >>> key_of(7.0), key_of(7), key_of("7"), key_of(True), key_of(None)
    (b'7', b'7', b'7', b'true', None)
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).encode("utf-8", "surrogatepass")


class Challenge:
    """The traffic of a challenger that answers a share of the requests.

    Each request is answered by one version as a whole. Without the sticky header, with a null feature, or if
    the rows of a batch have several keys, the champion answers.

    Args:
        terms: the change that made the version the challenger.
        champion: the champion.
        challenger: the challenger.

    Attributes:
        by_rows: the champion that chooses the version when the rows are read; None without a sticky feature.
    """

    def __init__(self, terms: AliasChange, champion: ServedVersion, challenger: ServedVersion) -> None:
        self._share = terms.share or 0.0
        self._champion = champion
        self._challenger = challenger
        self._version = challenger.model.version
        source, _, name = terms.sticky.partition(":")
        self._header = name.encode() if source == STICKY_HEADER else None
        by_rows = source == STICKY_FEATURE
        names, own = champion.model.schema.names, challenger.model.schema.names
        self._column = names.index(name) if by_rows else 0
        self._order = None if names == own else [names.index(feature) for feature in own]
        self.by_rows = replace(champion, choose=self._choose_by_rows) if by_rows else None

    def choose(self, scope: Scope) -> ServedVersion:
        """Choose the version by chance, or by the sticky header."""
        if self._header is None:
            is_challenged = random.random() < self._share  # noqa: S311 - no secret
        else:
            key = next((value for name, value in scope["headers"] if name == self._header), b"")
            is_challenged = self._has(key or None)
        return self._challenger if is_challenged else self._champion

    def _choose_by_rows(self, rows: list[Row]) -> tuple[ServedVersion, list[Row]]:
        """Choose the version by the sticky feature; see `ServedVersion.choose`."""
        column = self._column
        value = rows[0][column]
        if not self._has(key_of(value)) or any(row[column] != value for row in rows):
            return self._champion, rows
        return self._challenger, self._in_order(rows)

    def _has(self, key: bytes | None) -> bool:
        return key is not None and share_of(key, self._version) < self._share

    def _in_order(self, rows: Sequence[Row]) -> list[Row]:
        order = self._order
        return list(rows) if order is None else [[row[place] for place in order] for row in rows]
