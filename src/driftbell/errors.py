"""Exception tree.

```
DriftbellError
├── ConfigError        a setting, file or argument is wrong; the message names it and says what to do
│   ├── ModelError     a model file cannot be loaded, or is not allowed
│   │   ├── UntrustedModelError  loading it may run code, and its hash is not pinned
│   │   ├── MissingModuleError   a module that the model needs is not installed; the message names it
│   │   └── AnswerError      a function or server answered something that is no prediction
│   └── MissingExtraError  an optional dependency is not installed; the message names the extra
├── InputError         a row or table does not fit the schema; `problems` lists every field
├── PredictError       the model itself failed on valid input
├── StoreError         the prediction store cannot be read or written now
│   └── LeaseLostError  another monitor has taken over; the result was not saved
├── OverloadedError    a bounded queue is full; try again later
├── ReportError        a report could not be rendered or written
└── ArchiveError       an archive file could not be written or read
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from driftbell.records import FieldProblem, Value


class DriftbellError(Exception):
    """Base class of every error that driftbell raises on purpose."""


class ConfigError(DriftbellError):
    """A setting, file or argument is wrong."""


class ModelError(ConfigError):
    """A model file cannot be loaded, or is not allowed."""


class UntrustedModelError(ModelError):
    """Loading a model file may run any code, and its hash is not pinned, which would be the consent.

    Args:
        reason: what the file is, such as "churn.pkl is a pickle, which can run any code when it is loaded".
        sha256: the hash to pin.

    >>> print(UntrustedModelError("m.pkl is a pickle", "ab12"))
    m.pkl is a pickle: if you trust it, set sha256 = "ab12" under [model]
    """

    def __init__(self, reason: str, sha256: str) -> None:
        self.reason = reason
        self.sha256 = sha256
        super().__init__(f'{reason}: if you trust it, set sha256 = "{sha256}" under [model]')


class MissingModuleError(ModelError):
    """A module that a model needs is not installed; the message has the command that installs it."""


class AnswerError(ModelError, ValueError):
    """The user's own code or a server answered something that is no prediction."""


class MissingExtraError(ConfigError):
    """An optional dependency is not installed.

    Args:
        feature: what needs it, such as `driftbell serve` or `Parquet`.
        extra: name of the extra that installs it.

    >>> print(MissingExtraError("driftbell serve", "serve"))
    driftbell serve needs the extra 'serve': pip install 'driftbell[serve]'
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra '{extra}': pip install 'driftbell[{extra}]'")


class InputError(DriftbellError):
    """A row or table does not fit the schema.

    Args:
        problems: one entry for each invalid field, in the order of the input.
        example: the first such row, if its values are valid and the model fails on one of them.

    Attributes:
        rows: number of rows of the request, all of which are refused; None if only those with a problem are.
    """

    rows: int | None = None

    def __init__(
        self, problems: Sequence[FieldProblem], *, example: Mapping[str, Value] | None = None
    ) -> None:
        self.problems = tuple(problems)
        self.example = example
        super().__init__("; ".join(p.message for p in self.problems))


class PredictError(DriftbellError):
    """The model itself failed on valid input.

    Attributes:
        reason: type and message of the model's own error without values of features, for the log; "" if they
            are not known.
    """

    reason = ""


class StoreError(DriftbellError):
    """The prediction store cannot be read or written now.

    Args:
        message: the reason, for the log; it may name the database's address, user, and errors of its driver.
        public: the reason in answers of the HTTP API.
    """

    def __init__(
        self,
        message: str,
        *,
        public: str = "the prediction log cannot be used now; the service's log has the reason",
    ) -> None:
        super().__init__(message)
        self.public = public


class LeaseLostError(StoreError):
    """Another monitor has taken over; the result was not saved."""


class OverloadedError(DriftbellError):
    """A bounded queue is full; try again later."""


class ReportError(DriftbellError):
    """A report could not be rendered or written."""


class ArchiveError(DriftbellError):
    """An archive file could not be written or read."""
