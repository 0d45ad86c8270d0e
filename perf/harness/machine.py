"""What the machine itself does to a round trip: for how long a core does something else.

A loop on each of the two cores only reads the clock. Where it finds a gap, something else ran there: threads of the kernel,
interrupts, or, on a virtual machine, the host. A ping that comes meanwhile waits, whatever the server does.
"""

import json
import subprocess
import sys

#: Shorter gaps are of no interest, ns.
LEAST_NS = 100_000

LOOP = """
import gc, json, os, sys, time
gc.disable()
os.sched_setaffinity(0, {int(sys.argv[1])})
now, gaps = time.monotonic_ns, []
last = now()
end = last + int(sys.argv[2])
while last < end:
    this = now()
    if this - last > int(sys.argv[3]):
        gaps.append(this - last)
    last = this
print(json.dumps(gaps))
"""


def gaps(cores, seconds):
    """Lists of gaps in ns, one for each core, all measured at the same time."""
    ns = int(seconds * 1e9)
    loops = [subprocess.Popen([sys.executable, "-c", LOOP, str(core), str(ns), str(LEAST_NS)], stdout=subprocess.PIPE)
             for core in cores]
    return [json.loads(loop.communicate()[0] or "[]") for loop in loops]


def wait_us(found, seconds, share):
    """What a ping that needs each of the cores once, at any time, has to wait for them: so long in at least `share` of all
    cases, microseconds."""
    all_ns = sorted((gap for core in found for gap in core), reverse=True)
    late_ns = share * seconds * 1e9
    if sum(all_ns) <= late_ns:
        return 0.0
    # Of a gap g, g - w of the time is one at which a wait of more than w begins.
    longer_ns = 0
    for count, gap in enumerate(all_ns, 1):
        longer_ns += gap
        wait_ns = (longer_ns - late_ns) / count
        if count == len(all_ns) or wait_ns >= all_ns[count]:
            return wait_ns / 1e3
    return 0.0


def measure(cores, seconds):
    """For the record: p99.9 of that wait, and the longest gap, microseconds."""
    found = gaps(cores, seconds)
    longest = max((gap for core in found for gap in core), default=0)
    return {"seconds": seconds, "wait_p999_us": wait_us(found, seconds, 0.001), "longest_gap_us": longest / 1e3}
