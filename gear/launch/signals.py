"""What a second Ctrl-C or SIGTERM does to a Snakemake that runs its jobs on this machine.

At the first one Snakemake starts no further job and waits for those that run. By itself it would
end with a traceback at the second one, while its jobs run on. Here the second one ends the jobs: a
training saves its state, and Snakemake unlocks the folder and ends as after any failed job.
"""

import contextlib
import signal
import sys
import threading

WAITING = ("bash", "sh", "tee")  # of a rule's shell; they end with the job that they wait for


def end_jobs_at_the_second():
    """Put our handlers before those that Snakemake has installed when its `onstart` is called."""
    first = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    seen = []

    def handle(number, frame):
        seen.append(number)
        if len(seen) > 1:
            _end_jobs()
        elif number == signal.SIGTERM:
            # Snakemake's handler takes a lock, which this thread may hold at this moment
            threading.Thread(target=first[number], args=(number, frame)).start()
        else:
            first[number](number, frame)

    for number in filter(lambda number: callable(first[number]), first):
        signal.signal(number, handle)


def _end_jobs():
    import psutil

    print(
        "gear: the running jobs are stopped; the same command goes on from here.",
        file=sys.stderr,
        flush=True,
    )
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.name() not in WAITING:
                process.terminate()
