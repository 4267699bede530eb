"""Heavy work runs one at a time, bounded, and not for clients that have gone."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from driftbell.errors import OverloadedError
from driftbell.server.heavy_work import SWITCH_SECONDS, ClientGoneError, require_room, run_admitted, run_heavy


async def stays() -> bool:
    return False


async def gone() -> bool:
    return True


class Work:
    """Blocks until it may go on."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.at_work = self.most = 0

    def __call__(self) -> str:
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        assert self.go.wait(20)
        self.at_work -= 1
        return "done"


def test_one_at_a_time() -> None:
    async def main() -> None:
        work = Work()
        tasks = [asyncio.create_task(run_heavy(work)) for _ in range(5)]
        tasks += [asyncio.create_task(run_admitted(work, size=1, limit=10, is_gone=stays)) for _ in range(5)]
        await asyncio.sleep(0.05)
        work.go.set()
        assert await asyncio.gather(*tasks) == ["done"] * 10
        assert work.most == 1

    asyncio.run(main())


def test_threads_switch_more_often_meanwhile_only() -> None:
    usual = sys.getswitchinterval()
    assert asyncio.run(run_heavy(sys.getswitchinterval)) == pytest.approx(SWITCH_SECONDS)
    assert sys.getswitchinterval() == usual


def test_too_much_waiting_work_is_refused_and_one_is_always_accepted() -> None:
    async def main() -> None:
        work = Work()
        first = asyncio.create_task(run_admitted(work, size=100, limit=10, is_gone=gone))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await run_admitted(work, size=1, limit=10, is_gone=stays)
        with pytest.raises(OverloadedError):
            require_room(1, 10)
        work.go.set()
        assert await first == "done"
        require_room(100, 10)
        assert await run_admitted(work, size=100, limit=10, is_gone=stays) == "done"

    asyncio.run(main())


def test_work_of_clients_that_have_gone_is_skipped_and_makes_room() -> None:
    async def main() -> None:
        work = Work()
        first = asyncio.create_task(run_admitted(work, size=1, limit=10, is_gone=stays))
        await asyncio.sleep(0)
        second = asyncio.create_task(run_admitted(work, size=9, limit=10, is_gone=gone))
        await asyncio.sleep(0)
        work.go.set()
        assert await first == "done"
        with pytest.raises(ClientGoneError):
            await second
        assert await run_admitted(work, size=9, limit=10, is_gone=gone) == "done"

    asyncio.run(main())
