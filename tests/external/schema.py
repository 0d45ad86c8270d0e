"""The JSON Schema of the configuration file, held against files by a validator that is not ours. `tests/external/interface` calls `check`."""

import json
import re
import tempfile
import textwrap
import tomllib
from pathlib import Path

from jsonschema import Draft202012Validator
from target import IQN, ROOT

TARGET = f'[[target]]\nname = "{IQN}"\n'
LUN = '[[target.lun]]\nnumber = 0\nkind = "ram"\nsize = "1MiB"\n'
# What is wrong with a file, and whether the schema can know it.
WRONG = [
    ("an unknown key", "colour = 3\n" + TARGET, True),
    ("an unknown table", TARGET + "[[lun]]\nnumber = 0\n", True),
    ("an unknown key of a LUN", TARGET + LUN + "colour = 3\n", True),
    ("a target without a name", '[[target]]\nalias = "a"\n', True),
    ("a name that is a number", "[[target]]\nname = 7\n", True),
    ("a name that is none", '[[target]]\nname = "disks"\n', False),
    ("a LUN without a number", TARGET + '[[target.lun]]\nkind = "ram"\nsize = "1MiB"\n', True),
    ("a LUN that is negative", TARGET + LUN.replace("number = 0", "number = -1"), True),
    ("a LUN that is too large", TARGET + LUN.replace("number = 0", "number = 70000"), True),
    ("a LUN that is a text", TARGET + LUN.replace("number = 0", 'number = "0"'), True),
    ("a kind that there is not", TARGET + LUN.replace('"ram"', '"tape"'), True),
    ("a size that is none", TARGET + LUN.replace('"1MiB"', '"large"'), True),
    ("a size that is negative", TARGET + LUN.replace('"1MiB"', "-512"), True),
    ("a block size that is none", TARGET + LUN + "block = 500\n", False),
    ("memory without a size", TARGET + LUN.replace('size = "1MiB"\n', ""), False),
    ("two LUNs of a number", TARGET + LUN + LUN, False),
    ("two targets of a name", TARGET + TARGET, False),
    ("a flag that is a text", TARGET + LUN + 'readonly = "yes"\n', True),
    ("cores that are negative", "cores = [-1]\n" + TARGET, True),
    ("a portal without an address", "[[portal]]\nadvertise = []\n" + TARGET, True),
    ("a portal that is a table", '[portal]\nlisten = "127.0.0.1"\n' + TARGET, True),
    ("an address that is none", '[[portal]]\nlisten = "here"\n' + TARGET, False),
    ("an account without a name", '[[account]]\nsecret = "123456789012"\n' + TARGET, True),
    ("a secret that is empty", '[[account]]\nuser = "u"\nsecret = ""\n' + TARGET, True),
    ("a way of writing logs that there is not", 'log-format = "xml"\n' + TARGET, True),
    ("a hash that there is not", 'chap-algorithms = ["md4"]\n' + TARGET, True),
    ("a limit that is negative", TARGET + LUN + "iops = -1\n", True),
]


def blocks(page):
    """The blocks of TOML in a page that are whole configurations."""
    found = re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.M | re.S)
    found += [textwrap.dedent(block) for block in re.findall(r"(?:^ {4}.*\n|^\n)+", page.read_text(), re.M)]
    return [text for text in found if re.search(r"^(\[\[target\]\]|target = \[\])", text, re.M)]


def faults(validator, text):
    """What the schema has against a file."""
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(tomllib.loads(text))]


def check(served, checks):
    """All of it. `served` is asked for the schema only."""
    code, out, _ = served.run("schema", socketless=True)
    schema = json.loads(out)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    checks.check("it is a schema of 2020-12", code == 0 and schema["$schema"].endswith("2020-12/schema"))
    for path in sorted((ROOT / "config").glob("*.toml")):
        found = faults(validator, path.read_text())
        checks.check(f"{path.name} is as it says", not found, str(found))
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "config/examples").glob("*/README.md"))]
    wholes = [(page.name, text) for page in pages for text in blocks(page)]
    found = [(name, told) for name, text in wholes if (told := faults(validator, text))]
    checks.check("so are the files in the pages", len(wholes) >= 2 and not found, f"of {len(wholes)}: {found}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ringsan.toml"

        def is_taken(text):
            file.write_text(text)
            file.chmod(0o600)
            return served.run("check", "--config", str(file), socketless=True)[0] == 0

        checks.check("a good one is taken by both", is_taken(TARGET + LUN) and not faults(validator, TARGET + LUN))
        for what, text, is_seen in WRONG:
            told = (not is_taken(text), bool(faults(validator, text)))
            checks.check(f"{what} is refused" + (", by the schema, too" if is_seen else ""), told == (True, is_seen), f"by ringsan, by the schema: {told}")
