"""Snakemake's scheduler looks at its open jobs once a second, however many jobs have ended."""

import threading

from snakemake.scheduling.job_scheduler import JobScheduler

from gear.launch.scheduler import look_once_a_second


class Scheduler:
    def __init__(self):
        self._open_jobs = threading.Semaphore(0)

    def _schedule_reevalutation(self, delay):
        raise AssertionError("Snakemake's own timer was started")


def test_one_timer_at_a_time():
    scheduler = Scheduler()
    look_once_a_second(scheduler)
    for _ in range(2):  # the second time after the first timer's end
        for _ in range(20):
            scheduler._schedule_reevalutation(0.2)
        assert scheduler._open_jobs.acquire(timeout=20)
        assert not scheduler._open_jobs.acquire(timeout=0.3)


def test_its_timer_does_not_keep_the_process_alive():
    scheduler = Scheduler()
    look_once_a_second(scheduler)
    scheduler._schedule_reevalutation(3600)
    timers = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    assert timers and all(t.daemon for t in timers)


def test_snakemake_still_has_what_is_replaced():
    assert hasattr(JobScheduler, "_schedule_reevalutation")


def test_another_snakemake_is_left_alone():
    class Mended:
        pass

    scheduler = Mended()
    look_once_a_second(scheduler)
    assert vars(scheduler) == {}
