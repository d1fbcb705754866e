"""What the first and the second signal do to a parent of jobs, which stands for Snakemake."""

import signal
import subprocess
import sys

import psutil
import pytest

# The jobs are as those of a rule: a shell that waits for a Python and for `tee`. The parent's own
# handlers, as Snakemake's: SIGINT waits for the jobs, SIGTERM too, under a lock.
PARENT = """
import signal, subprocess, sys, threading, time
from gear.launch import signals
lock = threading.Lock()
def graceful(*_):
    with lock:
        print("no further job", flush=True)
signal.signal(signal.SIGTERM, graceful)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
signals.end_jobs_at_the_second()
job = sys.executable + ''' -c "import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit('state saved'))
print('ready', flush=True); time.sleep(60)" 2>&1 | tee /dev/null'''
shell = subprocess.Popen(["bash", "-c", f"set -o pipefail; {job}; exit $?"])
try:
    with lock:  # SIGTERM comes while Snakemake holds its lock
        print("waiting", flush=True)
        while threading.active_count() == 1:
            time.sleep(0.01)
except KeyboardInterrupt:
    print("no further job", flush=True)
print("job ended", shell.wait(), flush=True)
"""


@pytest.mark.parametrize("first", ["INT", "TERM"])
@pytest.mark.parametrize("second", ["INT", "TERM"])
def test_the_second_signal_ends_the_jobs(first, second):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert {parent.stdout.readline() for _ in range(2)} == {"ready\n", "waiting\n"}
        jobs = psutil.Process(parent.pid).children(recursive=True)
        parent.send_signal(getattr(signal, f"SIG{first}"))
        assert parent.stdout.readline() == "no further job\n"
        assert all(job.is_running() for job in jobs)
        parent.send_signal(getattr(signal, f"SIG{second}"))
        said = parent.communicate(timeout=60)[0]
    finally:
        parent.kill()
    assert "the running jobs are stopped" in said and "state saved" in said
    assert said.endswith("job ended 1\n") and "Traceback" not in said and parent.returncode == 0
    assert not any(job.is_running() for job in jobs)
