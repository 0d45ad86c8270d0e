"""One measurement: loadgen against a server, or fio on the file."""

import json
import os
import subprocess

from harness.servers import IQN


class MeasureError(Exception):
    """A measurement failed; the message is for people."""


def thread_cpu_ns(pid):
    """CPU time by thread."""
    times = {}
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/schedstat") as text:
                times[tid] = int(text.read().split()[0])
    except (OSError, ValueError, IndexError):
        pass
    return times


def lesser_core_percent(before, after):
    """What the second of the two busiest threads used of both."""
    used = sorted((ns - before.get(tid, 0) for tid, ns in after.items()), reverse=True)[:2]
    return 100.0 * used[1] / sum(used) if len(used) == 2 and sum(used) else 0.0


def run(command, timeout):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as late:
        raise MeasureError(f"{os.path.basename(command[0])} did not end within {timeout:.0f} s") from late
    if done.returncode:
        raise MeasureError((done.stderr or done.stdout).strip()[-400:] or f"status {done.returncode}")
    return done.stdout


def loadgen(options, server, arguments, seconds, warmup=None, syscalls=None):
    command = [options.bin("loadgen"), "--json", "--portal", f"127.0.0.1:{server.port}", "--lun", str(server.lun),
               "--core", str(options.client_core), "--server-pid", str(server.pid), "--seconds", str(seconds),
               "--warmup", str(options.warmup if warmup is None else warmup),
               "--syscalls", str(options.syscalls if syscalls is None else syscalls)]
    command += ["--floor"] if server.floor else ["--target", IQN]
    if "--client-poll" not in arguments:
        command += ["--client-poll", options.client_poll]
    before = thread_cpu_ns(server.pid)
    report = json.loads(run(command + arguments, seconds + 120))
    report["lesser_core_percent"] = lesser_core_percent(before, thread_cpu_ns(server.pid))
    if report.get("read_probe"):
        report["read_probe_p99_us"] = report["read_probe"]["p99_us"]
    if report.get("nop"):
        report["nop_p999_us"] = report["nop"]["p999_us"]
    if not report["ios"]:
        for key in ("iops", "latency", "mb_s"):
            report.pop(key, None)
    return report


def fio(options, case, seconds):
    kind, block, depth = case.fio
    command = ["fio", "--name=local", f"--filename={options.file}", "--ioengine=io_uring", "--direct=1",
               f"--rw={kind}", f"--bs={block}", f"--iodepth={depth}", "--time_based", f"--runtime={seconds}",
               f"--ramp_time={options.warmup}", f"--cpus_allowed={options.server_core}", "--norandommap",
               "--randrepeat=0", "--output-format=json"]
    return from_fio(json.loads(run(command, seconds + 60)))


def from_fio(output):
    """fio's JSON in loadgen's terms."""
    job = output["jobs"][0]
    side = job["read"] if job["read"]["total_ios"] else job["write"]
    iops = side["iops"]
    latency = side["clat_ns"]
    quantiles = latency.get("percentile", {})
    quantile = lambda name: quantiles.get(name, 0) / 1e3
    cpu_percent = job["usr_cpu"] + job["sys_cpu"]
    return {
        "iops": iops,
        "ios": side["total_ios"],
        "mb_s": side["bw_bytes"] / 1e6,
        "server_cpu_percent": cpu_percent,
        "server_cpu_us_per_io": cpu_percent * 1e4 / iops if iops else None,
        "latency": {
            "mean_us": side["lat_ns"]["mean"] / 1e3,
            "p50_us": quantile("50.000000"),
            "p99_us": quantile("99.000000"),
            "p999_us": quantile("99.900000"),
            "max_us": latency["max"] / 1e3,
        },
    }


def fill(options, server):
    """Writes every block of the LUN once and checks reads and writes for a moment: a LUN that was never written, or
    does not keep what is written, would only look fast."""
    everything = ["--verify", "--mix", "50", "--block", "128k", "--depth", "8"]
    digests = ["--digests", "both"] if "digests" in server.name else []
    loadgen(options, server, everything + digests, 0.2, warmup=0, syscalls=0)
