"""The end of a process, of a client, and the beginning of a forked one."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Callable

import pytest

import laker
from collector import PATIENCE, Collector, answer, drop, hold

Connect = Callable[..., laker.Client]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run_program(collector: Collector, program: str) -> subprocess.CompletedProcess[str]:
    """Runs a program that logs to the collector, in a process of its own."""
    environment = {
        **os.environ,
        "LAKER_URL": collector.url,
        "PYTHONPATH": str(Path(laker.__file__).parents[1]),
        # Python 3.12 warns of forks beside threads, which is what is tested here.
        "PYTHONWARNINGS": "ignore",
    }
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
    )


def test_a_process_that_ends_has_sent_everything(collector: Collector) -> None:
    collector.answers(answer(503))
    done = run_program(
        collector,
        """
        import laker
        for number in range(5000):
            laker.log_event("u1", "mobile", "search", number=number)
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [event["number"] for event in collector.stored] == list(range(5000))


def test_an_exception_that_ends_the_process_loses_no_event(collector: Collector) -> None:
    done = run_program(
        collector,
        """
        import laker
        laker.log_event("u1", "mobile", "search")
        raise SystemExit(3)
        """,
    )
    assert done.returncode == 3
    assert len(collector.stored) == 1


def test_a_dead_collector_does_not_keep_a_process_from_ending(collector: Collector) -> None:
    collector.answers(hold)
    done = run_program(
        collector,
        """
        import laker
        laker.configure(exit_timeout_seconds=0.2)
        for _ in range(7):
            laker.log_event("u1", "mobile", "search")
        """,
    )
    assert done.returncode == 0
    assert not collector.released.is_set()
    assert "gave up on 7 events" in done.stderr


def test_a_worker_of_multiprocessing_sends_everything_before_it_ends(collector: Collector) -> None:
    done = run_program(
        collector,
        """
        import multiprocessing, laker

        def work(number):
            laker.log_event("u1", "mobile", "search", number=number)

        laker.log_event("u1", "mobile", "search", number=0)
        context = multiprocessing.get_context("fork")
        workers = [context.Process(target=work, args=(number,)) for number in range(1, 5)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        """,
    )
    assert done.stderr == ""
    assert sorted(event["number"] for event in collector.stored) == [0, 1, 2, 3, 4]


@needs_fork
def test_a_forked_child_begins_empty_and_the_parent_keeps_its_own(collector: Collector) -> None:
    done = run_program(
        collector,
        """
        import os, laker

        def log(process, count):
            for number in range(count):
                laker.log_event("u1", "mobile", "search", process=process, number=number)

        laker.configure(linger_seconds=60)
        log("parent", 3)
        children = []
        for child in range(4):
            pid = os.fork()
            if pid == 0:
                assert laker.stats() == laker.Stats(), laker.stats()
                log(f"child {child}", 2)
                assert laker.close(30), laker.stats()
                assert laker.stats() == laker.Stats(delivered=2), laker.stats()
                os._exit(0)
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
        log("parent", 1)
        assert laker.close(30)
        assert laker.stats() == laker.Stats(delivered=4), laker.stats()
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(collector.ids) == len(set(collector.ids)) == 4 + 4 * 2


@needs_fork
def test_a_fork_while_other_threads_log_does_not_lock_up_the_child(collector: Collector) -> None:
    done = run_program(
        collector,
        """
        import os, threading, laker

        closed = laker.Client()
        closed.close()
        going = True

        def log():
            while going:
                laker.log_event("u1", "mobile", "parent")
                closed.log_event("u1", "mobile", "closed")

        laker.configure(queue_events_max=1000)
        threads = [threading.Thread(target=log) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                laker.log_event("u1", "mobile", "child")
                closed.log_event("u1", "mobile", "closed")
                assert closed.stats() == laker.Stats(dropped=1)
                os._exit(0 if laker.close(30) else 1)
            assert os.waitpid(pid, 0)[1] == 0
        going = False
        for thread in threads:
            thread.join()
        """,
    )
    assert done.returncode == 0, done.stderr
    actions = [event["action"] for event in collector.stored]
    assert actions.count("child") == 30
    assert "closed" not in actions


def test_the_thread_imports_nothing_so_that_no_fork_can_catch_it_importing(collector: Collector) -> None:
    collector.answers(answer(503, Retry_After="Fri, 20 Nov 2020 18:00:00 GMT"), drop)
    done = run_program(
        collector,
        """
        import sys, laker
        before = set(sys.modules)
        laker.log_event("u1", "mobile", "search", text="x" * 10_000)
        assert laker.flush(30)
        assert set(sys.modules) == before, set(sys.modules) - before
        """,
    )
    assert done.returncode == 0, done.stderr
    assert len(collector.requests) == 3


def test_close_sends_what_is_queued_and_ends_the_thread(collector: Collector, connect: Connect) -> None:
    with connect(linger_seconds=PATIENCE * 10) as client:
        client.log_event("u1", "mobile", "search")
    assert client.stats() == laker.Stats(delivered=1)
    assert client.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "laker"]


def test_close_gives_up_in_time_and_counts_what_it_left(
    collector: Collector, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    collector.answers(hold)
    client = connect()
    client.log_event("u1", "mobile", "search")
    collector.wait_for_requests(1)
    for _ in range(4):
        client.log_event("u1", "mobile", "search")
    assert not client.close(0.05)
    assert client.stats() == laker.Stats(undelivered=5)
    assert "gave up on 5 events" in caplog.text
    assert not client.flush(0)


def test_an_acknowledgement_after_close_gave_up_is_still_counted(collector: Collector, connect: Connect) -> None:
    collector.answers(hold)
    client = connect()
    client.log_event("u1", "mobile", "search")
    collector.wait_for_requests(1)
    client.log_event("u1", "mobile", "search")
    assert not client.close(0.05)
    collector.released.set()
    thread = client._thread
    assert thread is not None
    thread.join(PATIENCE)
    assert client.stats() == laker.Stats(delivered=1, undelivered=1)
    assert len(collector.stored) == 1


def test_a_client_that_nobody_refers_to_still_sends_its_events(collector: Collector) -> None:
    done = run_program(
        collector,
        """
        import gc, laker
        laker.Client(linger_seconds=60).log_event("u1", "mobile", "search")
        gc.collect()
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(collector.stored) == 1
