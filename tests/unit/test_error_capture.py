import pytest

from driftbell.error_capture import ErrorCapture
from driftbell.errors import LeaseLostError, StoreError


def test_an_error_is_captured_and_the_work_goes_on() -> None:
    with ErrorCapture() as captured:
        raise ValueError("broken")
    assert isinstance(captured.error, ValueError)


def test_a_block_without_an_error_captures_none() -> None:
    with ErrorCapture(StoreError) as captured:
        pass
    assert captured.error is None


@pytest.mark.parametrize("error", [StoreError("down"), LeaseLostError("lost"), KeyboardInterrupt()])
def test_expected_errors_and_interrupts_are_raised(error: BaseException) -> None:
    captured = ErrorCapture(StoreError)
    with pytest.raises(type(error)), captured:
        raise error
    assert captured.error is None
