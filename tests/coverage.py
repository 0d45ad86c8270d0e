#!/usr/bin/env python3
"""Counts the lines of FOLDERS that ran, from an LCOV file. What is under #[cfg(test)] is not counted: tests always run.

  usage: tests/coverage.py LCOV

Prints the ten files with the most lines that never ran, and which lines those are; then a line for each folder, and one for all.
Exit code 1 if there is a folder of which nothing ran: then nothing was measured.
"""

import collections
import pathlib
import re
import sys

FOLDERS = ["wire", "session", "scsi", "world", "transport", "fabric", "shard", "serve"]
SOURCE = pathlib.Path(__file__).resolve().parent.parent / "src"
# Percent of the lines that are to run in each folder.
GOAL = 90
FILES = 10
TEST_MODULE = re.compile(r"^ *#\[cfg\(test\)\]\n(?: *#\[.*\]\n)* *(?:pub(?:\(\w+\))? )?mod (\w+);", re.MULTILINE)


def files_of_tests():
    """Files and folders of modules that only tests have."""
    of_tests = set()
    for file in SOURCE.rglob("*.rs"):
        folder = file.parent if file.stem in ("mod", "lib", "main") else file.with_suffix("")
        for name in TEST_MODULE.findall(file.read_text()):
            of_tests |= {folder / name, folder / f"{name}.rs"}
    return of_tests


def lines_of_tests(file):
    """Numbers of the lines of items under #[cfg(test)]: rustfmt ends them where the indentation is that of their beginning."""
    lines, tests, at = file.read_text().splitlines(), set(), 0
    while at < len(lines):
        indent = re.match(r"( *)#\[cfg\(test\)\]", lines[at])
        if indent:
            end = at + 1
            while lines[end].startswith(indent[1] + "#"):
                end += 1
            if not lines[end].endswith((";", ",", "}")):
                while not re.match(indent[1] + r"[})][^{]*$", lines[end]):
                    end += 1
            tests.update(range(at + 1, end + 2))
            at = end
        at += 1
    return tests


def counts_of(lcov):
    """How often each line of each file ran."""
    counts = collections.defaultdict(dict)
    with open(lcov) as text:
        for line in text:
            kind, _, rest = line.strip().partition(":")
            if kind == "SF":
                file = SOURCE.parent / rest
            elif kind == "DA":
                number, count = map(int, rest.split(",")[:2])
                counts[file][number] = max(count, counts[file].get(number, 0))
    return counts


def ranges(numbers):
    """1-3 5 for [1, 2, 3, 5]."""
    text = []
    for number in numbers:
        if text and text[-1][1] == number - 1:
            text[-1][1] = number
        else:
            text.append([number, number])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in text)


def main():
    counts = counts_of(sys.argv[1])
    of_tests = files_of_tests()
    table, missing = [], []
    for folder in FOLDERS:
        ran = lines = 0
        for file in sorted(file for file in counts if file.is_relative_to(SOURCE / folder)):
            if of_tests & {file, *file.parents}:
                continue
            tests = lines_of_tests(file)
            here = {number: count for number, count in counts[file].items() if number not in tests}
            never = sorted(number for number, count in here.items() if count == 0)
            ran, lines = ran + len(here) - len(never), lines + len(here)
            missing.append((len(never), len(here), file.relative_to(SOURCE.parent), never))
        table.append((folder, ran, lines))
    for count, of, file, never in sorted(missing, key=lambda entry: -entry[0])[:FILES]:
        print(f"{count:5} of {of:5} lines of {file} never ran: {ranges(never)}")
    measured = all(ran > 0 for _, ran, _ in table)
    table.append(("together", sum(ran for _, ran, _ in table), sum(lines for _, _, lines in table)))
    for folder, ran, lines in table:
        print(f"{folder:8} {ran:6} of {lines:6} lines ran: {100 * ran / max(1, lines):5.1f} %")
    percent = "; ".join(f"{folder} {100 * ran / max(1, lines):.1f} %" for folder, ran, lines in table)
    print(f"line coverage: {percent} (goal: {GOAL} % each)")
    if not measured:
        sys.exit("coverage: nothing was measured")


if __name__ == "__main__":
    main()
