"""Runs a command under limits and writes what it took: ``measured.py REPORT COMMAND…``.

A small process of its own, because Linux counts the memory of the process that forks towards the peak of the
child: under a large pytest the child would seem large.
"""

import json
import os
import resource
import subprocess
import sys

MOST_ADDRESS_SPACE = 4 << 30  # stops what runs away; libraries reserve a lot that they never touch
MOST_CPU_S = 20

resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESS_SPACE, MOST_ADDRESS_SPACE))
resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
with open(sys.argv[1], "w") as report:
    json.dump(
        {
            "code": os.waitstatus_to_exitcode(status),
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "megabytes": usage.ru_maxrss / 1024,
        },
        report,
    )
