"""Snakemake's scheduler looks at the open jobs again and again; here it does so once a second.

While open jobs wait, Snakemake 9 starts a timer each time its scheduler has looked at them, which
makes it look again a second later. The end of each job makes it look as well, and so starts one
more chain of such timers. After a hundred jobs it looks a hundred times a second. On a busy machine
its main process took 794 of the demo's 4,366 CPU-seconds; with one timer it takes 32.
"""

import threading


def look_once_a_second(scheduler):
    """Let a snakemake.scheduling.job_scheduler.JobScheduler have one timer at a time.

    The timer does not keep the process alive, as Snakemake's own would."""
    waiting = threading.Event()

    def look():
        waiting.clear()
        scheduler._open_jobs.release()

    def schedule(delay):
        if not waiting.is_set():
            waiting.set()
            timer = threading.Timer(delay, look)
            timer.daemon = True
            timer.start()

    if hasattr(scheduler, "_schedule_reevalutation"):  # another Snakemake may have mended this
        scheduler._schedule_reevalutation = schedule
