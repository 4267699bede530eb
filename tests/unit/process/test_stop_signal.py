"""The first signal asks a process to stop, the second ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from driftbell.process.stop_signal import STOP_SIGNALS

WAITING = """
import os, sys, time
from driftbell.process.stop_signal import stop_event
stop = stop_event(on_second=lambda: os.write(1, b"second"), supervised="supervised" in sys.argv)
os.write(1, b"ready")
while not stop.wait(0.0001):
    pass
os.write(1, b"stopped")
for _ in range(6000 if "hang" in sys.argv else 0):
    time.sleep(0.01)  # not longer: a signal just before the call does not interrupt it
if "supervised" in sys.argv:
    assert os.read(0, 2) == b"go"
"""


def not_ignored() -> None:
    """Undo `nohup`, under which this test may run."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def start(*arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=not_ignored,  # noqa: PLW1509 - three system calls
    )
    assert process.stdout
    assert os.read(process.stdout.fileno(), 5) == b"ready"
    return process


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_first_signal_sets_the_event(number: signal.Signals) -> None:
    process = start()
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert (output, process.returncode) == (b"stopped", 0)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_second_signal_ends_the_process_at_once(number: signal.Signals) -> None:
    process = start("hang")
    process.send_signal(signal.SIGTERM)
    assert process.stdout
    assert os.read(process.stdout.fileno(), 7) == b"stopped"
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert (output, process.returncode) == (b"second", 128 + number)


MANY = """
import os, signal, threading
from driftbell.process.stop_signal import stop_event
for _ in range(300):
    stop = stop_event()
    threading.Timer(0.001, os.kill, (os.getpid(), signal.SIGTERM)).start()
    while not stop.wait(0.00001):  # nearly always inside wait, with its lock held now and then
        pass
"""


NATIVE = """
import hashlib, os, sys, threading
from driftbell.process.stop_signal import end_at_stop, stop_event
end_at_stop()
if "running" in sys.argv:
    stop = stop_event(seconds=0.5)
    threading.Thread(target=lambda: (stop.wait(), os.write(1, b"stopping")), daemon=True).start()
os.write(1, b"ready")
hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)  # many minutes in native code, as a fit
"""


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize("phase", ["starting", "running"])
def test_a_process_in_a_long_call_of_native_code_ends(phase: str, number: signal.Signals) -> None:
    command = [sys.executable, "-c", NATIVE, phase]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=not_ignored)  # noqa: PLW1509
    assert process.stdout
    assert os.read(process.stdout.fileno(), 5) == b"ready"
    process.send_signal(number)
    try:
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (output, process.returncode) == (b"stopping" if phase == "running" else b"", 0)


FORKED = """
import os, signal
from driftbell.process.stop_signal import stop_event
stop = stop_event()
child = os.fork()
if not child:
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(0)
os.waitpid(child, 0)
assert not stop.wait(0.2)
"""


def test_a_signal_to_a_forked_process_does_not_stop_its_parent() -> None:
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=60)


def test_no_signal_is_lost_while_the_event_is_waited_for() -> None:
    subprocess.run([sys.executable, "-c", MANY], check=True, timeout=60)


def test_below_a_supervisor_the_second_signal_is_ignored() -> None:
    process = start("supervised")
    process.send_signal(signal.SIGTERM)
    assert process.stdout
    assert os.read(process.stdout.fileno(), 7) == b"stopped"
    for number in STOP_SIGNALS:
        process.send_signal(number)
    output, _ = process.communicate(b"go", timeout=30)
    assert (output, process.returncode) == (b"", 0)


STARTING = """
import os, time
from driftbell.process.stop_signal import end_at_stop
end_at_stop()
os.write(1, b"ready")
try:
    time.sleep(60)
except BaseException:
    os.write(1, b"swallowed")
"""


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_an_interrupted_start_ends_with_code_0(number: signal.Signals) -> None:
    command = [sys.executable, "-c", STARTING]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=not_ignored)  # noqa: PLW1509
    assert process.stdout
    assert os.read(process.stdout.fileno(), 5) == b"ready"
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert (output, process.returncode) == (b"", 0)


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    command = ["nohup", sys.executable, "-c", STARTING]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout
    assert os.read(process.stdout.fileno(), 5) == b"ready"
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.stdout.close()
