"""Programs out of Debian's package of Prometheus. That is not installed, for then a server would start."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from target import ROOT

FETCH = "cd {0} && {{ apt-get -qq download prometheus || {{ {1} apt-get -qq update && apt-get -qq download prometheus; }}; }} && dpkg-deb -x prometheus_*.deb ."


def of_prometheus(name):
    """`promtool`, or `prometheus`: where it is."""
    found = shutil.which(name)
    if found:
        return found
    kept = ROOT / "target" / "tools" / name
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["bash", "-c", FETCH.format(folder, "" if os.geteuid() == 0 else "sudo")], check=True)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(pathlib.Path(folder) / "usr" / "bin" / name, kept)
    return str(kept)
