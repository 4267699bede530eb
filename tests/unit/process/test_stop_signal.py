"""The first signal asks a process to stop, the second ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

WAITING = """
import os, sys, time
from driftbell.process.stop_signal import stop_event
stop = stop_event(on_second=lambda: os.write(1, b"second"))
os.write(1, b"ready")
while not stop.wait(0.0001):
    pass
os.write(1, b"stopped")
if sys.argv[1:] == ["hang"]:
    time.sleep(60)
"""


def start(*arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", WAITING, *arguments], stdout=subprocess.PIPE)
    assert process.stdout
    assert os.read(process.stdout.fileno(), 5) == b"ready"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_sets_the_event(number: signal.Signals) -> None:
    process = start()
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert (output, process.returncode) == (b"stopped", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
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


def test_no_signal_is_lost_while_the_event_is_waited_for() -> None:
    subprocess.run([sys.executable, "-c", MANY], check=True, timeout=60)
