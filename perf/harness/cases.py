"""The matrix: what is measured, on which servers, and what is to be reached."""

from dataclasses import dataclass, field

from harness.servers import Fio, Floor, Ringsan, Tgt

GIB = 1 << 30


@dataclass
class Case:
    name: str
    title: str
    #: Arguments of loadgen.
    load: list
    #: Contestants: name -> (server's name, further arguments of loadgen).
    contestants: dict
    #: The contestant that others are compared with.
    base: str
    group: str = "ram"
    #: For fio: rw, bs, iodepth.
    fio: tuple = None
    #: At least this many seconds per measurement.
    seconds: float = 0
    quick: bool = False
    #: Drawn in the plot.
    plot: bool = True
    extra: dict = field(default_factory=dict)


def servers(options):
    """All servers by name, not started. `exclusive` ones run only while they are measured: they share a file."""
    file_lun = f"path={options.file}"
    both = f"{options.server_core},{options.client_core}"
    all_servers = [
        Floor("floor", options),
        Floor("floor-discard", options, writes="discard"),
        Ringsan("ringsan-spin0", options, spin=0),
        Ringsan("ringsan", options),
        Tgt("tgt", options),
        Tgt("tgt-digests", options, digests=True),
        Ringsan("ringsan-2cores", options, spin=0, cores=both),
        Ringsan("ringsan-1g", options, lun="kind=ram,size=1GiB"),
        Tgt("tgt-1g", options, size=GIB),
        Fio("fio", options),
        Ringsan("ringsan-file-spin0", options, spin=0, lun=file_lun),
        Ringsan("ringsan-file", options, lun=file_lun),
        Tgt("tgt-file", options, path=options.file, kind="aio"),
    ]
    if options.before:
        former = options.before
        all_servers += [
            Ringsan("before", options, spin=0, program=former),
            Ringsan("before-file", options, spin=0, lun=file_lun, program=former),
        ]
    for server in all_servers:
        server.exclusive = "file" in server.name or server.name == "fio"
    return {server.name: server for server in all_servers}


def ram(name, title, load, write=False):
    names = ["floor"] + (["floor-discard"] if write else []) + ["ringsan-spin0", "ringsan", "tgt"]
    return Case(name, title, load, {n: (n, []) for n in names}, "floor", quick=True)


def asleep(name, title, load):
    contestants = {n: (n, []) for n in ["floor", "ringsan-spin0", "ringsan", "tgt"]}
    return Case(name, title, [*load, "--client-poll", "block"], contestants, "floor", plot=False)


def digests(name, title, load):
    on = ["--digests", "both"]
    contestants = {
        "ringsan-spin0": ("ringsan-spin0", []),
        "ringsan-spin0 header+data": ("ringsan-spin0", on),
        "tgt": ("tgt", []),
        "tgt header+data": ("tgt-digests", on),
    }
    return Case(name, title, load, contestants, "ringsan-spin0", group="digests")


def on_file(name, title, load, fio):
    names = {"fio": "fio", "ringsan-spin0": "ringsan-file-spin0", "ringsan": "ringsan-file", "tgt": "tgt-file"}
    return Case(name, title, load, {n: (s, []) for n, s in names.items()}, "fio", group="file", fio=fio)


def cases():
    one, four, big = ["--depth", "32"], ["--sessions", "4", "--depth", "32"], ["--block", "128k", "--depth", "8"]
    write = ["--mix", "write"]
    sequential = ["--block", "128k", "--depth", "32", "--pattern", "seq"]
    blocked = ["--client-poll", "block"]
    targets = {"ringsan": ("ringsan", []), "tgt": ("tgt", [])}
    crowd = ["--sessions", "4", "--block", "128k", "--depth", "32"]
    probes = ["--nop-probe", "5", "--read-probe", "4k"]
    return [
        ram("4k-read-qd1", "4K read, QD 1", ["--depth", "1"]),
        ram("4k-read-1x32", "4K read, 1 x QD 32", one),
        ram("4k-read-4x32", "4K read, 4 x QD 32", four),
        ram("4k-write-1x32", "4K write, 1 x QD 32", one + write, write=True),
        ram("4k-write-4x32", "4K write, 4 x QD 32", four + write, write=True),
        ram("128k-read-qd8", "128K read, QD 8", big),
        ram("128k-write-qd8", "128K write, QD 8", big + write, write=True),
        asleep("4k-read-qd1-asleep", "4K read, QD 1, client sleeps too", ["--depth", "1"]),
        asleep("4k-read-1x32-asleep", "4K read, 1 x QD 32, client sleeps too", one),
        asleep("4k-read-4x32-asleep", "4K read, 4 x QD 32, client sleeps too", four),
        digests("digests-4k-read", "digests, 4K read, QD 32", one),
        digests("digests-128k-read", "digests, 128K read, QD 8", big),
        on_file("file-4k-read-qd1", "file, 4K read, QD 1", ["--depth", "1"], ("randread", "4k", 1)),
        on_file("file-4k-read-1x32", "file, 4K read, 1 x QD 32", one, ("randread", "4k", 32)),
        on_file("file-4k-read-4x32", "file, 4K read, 4 x QD 32", four, ("randread", "4k", 128)),
        on_file("file-4k-write-1x32", "file, 4K write, 1 x QD 32", one + write, ("randwrite", "4k", 32)),
        on_file("file-4k-write-4x32", "file, 4K write, 4 x QD 32", four + write, ("randwrite", "4k", 128)),
        on_file("file-128k-read-seq", "file, 128K sequential read, QD 32", sequential, ("read", "128k", 32)),
        on_file("file-128k-write-seq", "file, 128K sequential write, QD 32", sequential + write,
                ("write", "128k", 32)),
        Case("idle", "100 sessions, nothing to do", ["--sessions", "0", "--idle-sessions", "100", *blocked], targets,
             "ringsan", group="more", seconds=10, plot=False),
        Case("nop-load", "NOP round trip during 4K read, 4 x QD 32", [*four, "--nop-probe", "5"], targets, "ringsan",
             group="more", seconds=4, plot=False),
        Case("nop-load-128k", "NOP round trip and 4K read, QD 1, during 128K read, 4 x QD 32",
             [*crowd, *probes], targets, "ringsan", group="more", seconds=4, plot=False),
        Case("nop-load-128k-write", "NOP round trip and 4K read, QD 1, during 128K write, 4 x QD 32",
             [*crowd, *write, *probes], targets, "ringsan", group="more", seconds=4, plot=False),
        Case("nop-write-same", "NOP round trip and 4K read, QD 1, during WRITE SAME of 1 GiB",
             ["--sessions", "0", "--write-same", "1g", *probes, *blocked],
             {"ringsan": ("ringsan-1g", []), "tgt": ("tgt-1g", [])}, "ringsan", group="more", seconds=4, plot=False),
        Case("file-nop-write-same", "file, NOP round trip and 4K read, QD 1, during WRITE SAME of 1 GiB",
             ["--sessions", "0", "--write-same", "1g", *probes, *blocked],
             {"ringsan": ("ringsan-file", []), "tgt": ("tgt-file", [])}, "ringsan", group="file", seconds=4,
             plot=False),
        Case("sessions-1000", "1,000 sessions of which 4 are busy (4K read, QD 32)", four,
             {"4 sessions": ("ringsan-spin0", []), "1000 sessions": ("ringsan-spin0", ["--idle-sessions", "996"]),
              "tgt, 4 sessions": ("tgt", []), "tgt, 1000 sessions": ("tgt", ["--idle-sessions", "996"])},
             "4 sessions", group="more", plot=False),
        Case("two-cores", "one LUN by two cores (4K read, 4 x QD 32, the client on one of them)", [*four, *blocked],
             {"one core": ("ringsan-spin0", []), "two cores": ("ringsan-2cores", [])}, "one core", group="more",
             plot=False),
    ]


def compared(all_cases):
    """Of these, what compares ringsan as it was before (`--before`) with ringsan as it is: they alone, side by side."""
    result = []
    for case in all_cases:
        ours = {name: entry for name, entry in case.contestants.items() if entry[0].endswith("-spin0")}
        if not ours:
            continue
        # With digests, where that is the case: the load without them is a case of its own.
        server, load = list(ours.values())[-1]
        former = "before-file" if "file" in server else "before"
        case.contestants = {"before": (former, load), "ringsan-spin0": (server, load)}
        case.base = "before"
        result.append(case)
    return result


CPU, IOPS = "server_cpu_us_per_io", "iops"


@dataclass
class Goal:
    """`value` of one contestant, over that of another one (or as it is), at most or at least a limit."""

    case: str
    text: str
    key: str
    contestant: str
    over: str
    limit: float
    at_most: bool = True
    #: The median of the ratios of each round, where both come one after the other; not the ratio of the medians.
    paired: bool = False


def goals_compared(all_cases):
    """No case costs more than a fiftieth more than before."""
    return [Goal(case.name, "CPU per I/O over that of before", CPU, "ringsan-spin0", "before", 1.02, paired=True)
            for case in all_cases]


def goals():
    result = []
    for case, over, limit in [
        ("4k-read-1x32", "floor", 1.25), ("4k-read-4x32", "floor", 1.35),
        ("4k-write-1x32", "floor-discard", 1.5), ("4k-write-4x32", "floor-discard", 2.0),
        ("128k-read-qd8", "floor", 1.1), ("128k-write-qd8", "floor-discard", 2.6),
    ]:
        result.append(Goal(case, f"CPU per I/O over {over}'s", CPU, "ringsan-spin0", over, limit))
    for case, limit in [("4k-read-1x32", 7), ("4k-read-4x32", 10)]:
        for way in (case, f"{case}-asleep"):
            result.append(Goal(way, "CPU per I/O of tgt over ringsan's", CPU, "tgt", "ringsan-spin0", limit, False))
    for case, limit in [("4k-read-qd1", 2.8), ("4k-read-1x32", 1.4), ("4k-read-4x32", 0.9)]:
        for way in (case, f"{case}-asleep"):
            result.append(Goal(way, "IOPS, polling, over the floor's", IOPS, "ringsan", "floor", limit, False))
    for case, limit in [("digests-4k-read", 1.12), ("digests-128k-read", 1.25)]:
        result.append(Goal(case, "CPU per I/O with digests over without", CPU, "ringsan-spin0 header+data",
                           "ringsan-spin0", limit))
    for case, limit in [("file-4k-read-4x32", 0.95), ("file-4k-write-4x32", 0.95), ("file-4k-read-1x32", 0.85),
                        ("file-4k-write-1x32", 0.85), ("file-128k-read-seq", 0.95), ("file-128k-write-seq", 0.95)]:
        result.append(Goal(case, "IOPS over local fio's", IOPS, "ringsan", "fio", limit, False))
    result += [
        Goal("idle", "CPU in percent of a core", "server_cpu_percent", "ringsan", None, 0.5),
        Goal("nop-load", "NOP round trip, p99.9, us", "nop_p999_us", "ringsan", None, 5000),
        *(Goal(case, "NOP round trip, p99.9, us", "nop_p999_us", "ringsan", None, 5000)
          for case in ("nop-load-128k", "nop-load-128k-write", "nop-write-same", "file-nop-write-same")),
        Goal("sessions-1000", "CPU per I/O over that of 4 sessions", CPU, "1000 sessions", "4 sessions", 1.1),
        Goal("two-cores", "CPU per I/O over one core's", CPU, "two cores", "one core", 1.1),
        Goal("two-cores", "share of the less busy core, percent", "lesser_core_percent", "two cores", None, 25, False),
    ]
    return result
