"""Parts of benchmarks/gpu.py that pass, fail, die or hang."""

import os
import signal
import time


def good(context):
    yield {"name": "a", "ok": True, "numbers": {"x": 1.0}, "note": "", "known": {"x": 1.0}}


def reads(context):
    yield {"name": "b", "ok": context.known["x"] == 1.0, "numbers": {}, "note": ""}


def raising(context):
    yield {"name": "before", "ok": True, "numbers": {}, "note": ""}
    raise RuntimeError("a planted fault")


def dying(context):
    yield {"name": "before", "ok": True, "numbers": {}, "note": ""}
    os.kill(os.getpid(), signal.SIGKILL)


def hanging(context):
    yield {"name": "before", "ok": True, "numbers": {}, "note": ""}
    time.sleep(600)


def judged(context):
    yield {"name": "wrong", "ok": False, "numbers": {"error": 1.0}, "note": "too large"}
