"""What a cluster's sinfo and scontrol print, and programs that print it."""

import stat

SINFO = """\
batch*|infinite|3|4|8000|gpu:2
gpu|1-00:00:00|4|64|256000+|gpu:a100:8(S:0-1),shard:16
gpu|1-00:00:00|2|32|128000|gpu:4
debug|30:00|1|8|16000|(null)
none|n/a|0|0|0|
empty|infinite|0|n/a|n/a|(null)
"""
CONFIG = """\
Configuration data as of 2026-11-24T10:00:00
AccountingStorageType   = accounting_storage/none
MinJobAge               = 300 sec
"""


def program(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
