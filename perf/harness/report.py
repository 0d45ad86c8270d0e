"""Medians, tables, JSON, CSV and the plot."""

import csv
import json
import math
import statistics

COLUMNS = [
    ("server_cpu_us_per_io", "CPU us/IO", 2),
    ("iops", "IOPS", 0),
    ("mb_s", "MB/s", 0),
    ("latency.mean_us", "mean us", 1),
    ("latency.p50_us", "p50", 1),
    ("latency.p99_us", "p99", 1),
    ("latency.p999_us", "p99.9", 1),
    ("server_syscalls_per_io", "calls/IO", 2),
    ("server_cpu_percent", "CPU %", 1),
    ("nop_p999_us", "NOP p99.9", 0),
    ("read_probe.p50_us", "probe p50", 0),
    ("read_probe.p99_us", "probe p99", 0),
    ("write_same.p50_us", "WRITE SAME us", 0),
    ("lesser_core_percent", "2nd core %", 0),
]


def value(report, key):
    for part in key.split("."):
        report = report.get(part) if isinstance(report, dict) else None
    return report


class Results:
    """The reports of all rounds: case -> contestant -> list."""

    def __init__(self):
        self.reports, self.failures = {}, []

    def add(self, case, contestant, report):
        self.reports.setdefault(case, {}).setdefault(contestant, []).append(report)

    def values(self, case, contestant, key):
        found = (value(report, key) for report in self.reports.get(case, {}).get(contestant, []))
        return [number for number in found if number is not None]

    def median(self, case, contestant, key):
        numbers = self.values(case, contestant, key)
        return statistics.median(numbers) if numbers else None

    def ratio(self, case, contestant, over, key):
        """Of the medians; None where either is missing."""
        upper, lower = self.median(case, contestant, key), self.median(case, over, key)
        return upper / lower if upper is not None and lower else None

    def paired(self, case, contestant, over, key):
        """The median of the ratios of each round; None where one of a round is missing."""
        upper, lower = self.values(case, contestant, key), self.values(case, over, key)
        if not upper or len(upper) != len(lower) or not all(lower):
            return None
        return statistics.median(above / below for above, below in zip(upper, lower))


def spread(numbers, digits):
    if not numbers:
        return "-"
    text = f"{statistics.median(numbers):,.{digits}f}"
    return text if len(numbers) < 2 else f"{text} ({min(numbers):,.{digits}f}..{max(numbers):,.{digits}f})"


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                       for i, (cell, width) in enumerate(zip(row, widths))) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def case_text(case, results):
    """The table of one case: a row per contestant, with ratios to the base and, for tgt, to ringsan."""
    contestants = [name for name in case.contestants if results.reports.get(case.name, {}).get(name)]
    shown = [c for c in COLUMNS if any(results.values(case.name, name, c[0]) for name in contestants)]
    shown = [c for c in shown if c[0] != "lesser_core_percent" or case.name == "two-cores"]
    rows = [[""] + [title for _, title, _ in shown] + [f"CPU/{case.base}", f"IOPS/{case.base}"]]
    for name in contestants:
        row = [name]
        for number, (key, _, digits) in enumerate(shown):
            numbers = results.values(case.name, name, key)
            # The spread of the two figures that matter; medians of the rest keep the table readable.
            row.append(spread(numbers if number < 2 else [statistics.median(numbers)] if numbers else [], digits))
        for key in ("server_cpu_us_per_io", "iops"):
            ratio = results.ratio(case.name, name, case.base, key)
            row.append("-" if ratio is None else f"{ratio:.2f}")
        rows.append(row)
    return f"{case.name}: {case.title}\n{table(rows)}\n" if contestants else ""


def check_goals(goals, results):
    """(text, value, limit, reached) of each goal that was measured."""
    checked = []
    for goal in goals:
        if goal.over and goal.paired:
            number = results.paired(goal.case, goal.contestant, goal.over, goal.key)
        elif goal.over:
            number = results.ratio(goal.case, goal.contestant, goal.over, goal.key)
        else:
            number = results.median(goal.case, goal.contestant, goal.key)
        if number is not None:
            reached = number <= goal.limit if goal.at_most else number >= goal.limit
            checked.append((f"{goal.case}: {goal.text}", number, goal.limit, goal.at_most, reached))
    latency = [results.median("file-4k-read-qd1", "fio", "latency.mean_us"),
               results.median("4k-read-qd1", "floor", "latency.mean_us"),
               results.median("file-4k-read-qd1", "ringsan", "latency.mean_us")]
    if None not in latency:
        local, round_trip, ours = latency
        number = ours / (local + round_trip)
        checked.append(("file-4k-read-qd1: latency over local fio's plus the floor's", number, 1.1, True,
                        number <= 1.1))
    return checked


def goals_text(checked):
    if not checked:
        return ""
    rows = [["goal", "measured", "limit", ""]]
    for text, number, limit, at_most, reached in checked:
        sign = "<=" if at_most else ">="
        rows.append([text, f"{number:,.{2 if number >= 10 else 3}f}", f"{sign} {limit:,g}", "reached" if reached else "MISSED"])
    return table(rows) + "\n"


def machine_text(facts):
    return (f"\nthe machine alone: a ping that needs both cores waits {facts['wait_p999_us'] / 1e3:.1f} ms for them at p99.9; "
            f"one of them was away for {facts['longest_gap_us'] / 1e3:.1f} ms at most, in {facts['seconds']} s")


def write_files(folder, cases, results, goals, environment):
    content = {
        "environment": environment,
        "cases": {case.name: {"title": case.title, "base": case.base, "load": case.load,
                              "reports": results.reports[case.name]}
                  for case in cases if case.name in results.reports},
        "goals": [{"text": text, "measured": number, "limit": limit, "at_most": at_most, "reached": reached}
                  for text, number, limit, at_most, reached in check_goals(goals, results)],
        "failures": results.failures,
    }
    with open(f"{folder}/results.json", "w") as out:
        json.dump(content, out, indent=1)
    with open(f"{folder}/results.csv", "w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["case", "contestant", "round", *(key for key, _, _ in COLUMNS)])
        for case, contestants in results.reports.items():
            for name, reports in contestants.items():
                for number, report in enumerate(reports, 1):
                    writer.writerow([case, name, number, *(value(report, key) for key, _, _ in COLUMNS)])
    with open(f"{folder}/results.svg", "w") as out:
        out.write(plot([case for case in cases if case.plot], results))


COLOURS = {"floor": "#9aa0a6", "fio": "#9aa0a6", "floor-discard": "#c8ccd0", "ringsan-spin0": "#1b6ca8",
           "ringsan": "#57a5dc", "before": "#b8b05a", "ringsan-spin0 header+data": "#0d3b5c", "tgt": "#d9822b", "tgt header+data": "#8a4f14"}


def plot(cases, results):
    """Two panels of bars on a logarithmic axis: CPU per I/O and IOPS, each relative to the case's base."""
    cases = [case for case in cases if case.name in results.reports]
    left, bar, gap, height, top = 60, 12, 22, 220, 60
    groups = [(case, [n for n in case.contestants if results.reports[case.name].get(n)]) for case in cases]
    width = left + sum(len(names) * bar + gap for _, names in groups) + 20
    width = max(width, 700)
    out = []
    panels = [("server_cpu_us_per_io", "CPU of the server per I/O, relative to the floor (to local fio for files): "
               "lower is better"), ("iops", "I/O per second, relative to the same: higher is better")]
    bottom = top
    for key, title in panels:
        bars = []
        for case, names in groups:
            base = results.median(case.name, case.base, key)
            for name in names:
                numbers = results.values(case.name, name, key)
                if base and numbers and min(numbers) > 0:
                    ratios = [statistics.median(numbers) / base, min(numbers) / base, max(numbers) / base]
                    bars.append((case.name, name, ratios))
        if not bars:
            continue
        low = min(0.5, *(r[1] for _, _, r in bars))
        high = max(2.0, *(r[2] for _, _, r in bars))
        place = panel(out, title, low, high, left, width, bottom, height)
        x = left + gap / 2
        for case, names in groups:
            for name in names:
                found = [r for c, n, r in bars if (c, n) == (case.name, name)]
                if found:
                    draw_bar(out, x, bar, place, found[0], name)
                x += bar
            middle = x - len(names) * bar / 2
            out.append(f'<text x="{middle:.1f}" y="{bottom + height + 12}" text-anchor="end" '
                       f'transform="rotate(-30 {middle:.1f} {bottom + height + 12})">{case.name}</text>')
            x += gap
        bottom += height + 130
    legend(out, groups, left)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{bottom:.0f}" '
            f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(out) + "\n</svg>\n")


def panel(out, title, low, high, left, width, top, height):
    """Draws axis and grid; returns the function from a ratio to its y."""
    first, last = math.log2(low), math.log2(high)
    place = lambda ratio: top + height * (last - math.log2(ratio)) / (last - first)
    out.append(f'<text x="{left}" y="{top - 12}" font-weight="bold">{title}</text>')
    for power in range(math.ceil(first), math.floor(last) + 1):
        y = place(2.0 ** power)
        line = "#444" if power == 0 else "#ddd"
        out.append(f'<line x1="{left}" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="{line}"/>')
        out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{2.0 ** power:g}x</text>')
    return place


def draw_bar(out, x, bar, place, ratios, name):
    median, low, high = ratios
    y, zero = place(median), place(1.0)
    top, tall = min(y, zero), max(abs(y - zero), 1.0)
    out.append(f'<rect x="{x:.1f}" y="{top:.1f}" width="{bar - 1}" height="{tall:.1f}" '
               f'fill="{COLOURS.get(name, "#777")}"><title>{name}: {median:.2f}</title></rect>')
    middle = x + (bar - 1) / 2
    out.append(f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{place(high):.1f}" y2="{place(low):.1f}" '
               f'stroke="#222"/>')


def legend(out, groups, left):
    names = list(dict.fromkeys(name for _, group in groups for name in group))
    for number, name in enumerate(names):
        x, y = left + number % 4 * 165, 10 + number // 4 * 16
        out.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{COLOURS.get(name, "#777")}"/>')
        out.append(f'<text x="{x + 14}" y="{y + 9}">{name}</text>')
