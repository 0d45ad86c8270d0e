//! What `tests/external/install` has apt do, on a machine of stubs: apt and dpkg among them, and each program that a package brings.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the script needs that is not a stub.
const REAL: [&str; 9] = ["awk", "bash", "env", "grep", "head", "ls", "sed", "sort", "touch"];

/// Each installed package is a file with the name of its source package in it.
const DPKG_QUERY: &str = r#"
[ $# = 3 ] || { [ ! -e "installed/$4" ] || printf installed; exit; }
for name in $(ls installed); do read -r source <"installed/$name" || :; echo "${source:-$name} installed $name"; done"#;

/// A machine with these commands in its PATH, and nothing else.
struct Machine {
    place: tempfile::TempDir,
}

impl Machine {
    /// With these packages, of the source package that is named beside each.
    fn new(installed: &[(&str, &str)]) -> Machine {
        let machine = Machine { place: tempfile::tempdir().unwrap() };
        for folder in ["bin", "installed"] {
            fs::create_dir(machine.path(folder)).unwrap();
        }
        for (package, source) in installed {
            fs::write(machine.path("installed").join(package), format!("{source}\n")).unwrap();
        }
        for program in REAL {
            let real =
                ["/usr/bin", "/bin"].iter().map(|folder| Path::new(folder).join(program)).find(|path| path.exists());
            symlink(real.unwrap_or_else(|| panic!("no {program}")), machine.path("bin").join(program)).unwrap();
        }
        machine.command("dpkg-query", DPKG_QUERY);
        machine.command("id", "echo 0");
        machine.command("apt-cache", "echo Source: qemu");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A command: what `sh` does for it, in the machine's folder.
    fn command(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/bash\ncd '{}'\n{script}\n", self.place.path().display())).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// apt-get, which takes down what it is called with. `script` has it in `$*`, and the packages in `$packages`; where it
    /// succeeds, and is no simulation, they are installed.
    fn apt(&self, script: &str) {
        let take_down = r#"echo "$*" >>calls
            packages=" ${*##* install } "
            solve "$@" || exit 100
            case " $* " in *" install "*) ;; *) exit ;; esac
            case " $* " in *" -s "*) ;; *) for each in $packages; do touch "installed/${each%/*}"; done ;; esac"#;
        self.command("apt-get", &format!("solve() {{\n{script}\n}}\n{take_down}"));
    }

    fn install(&self, packages: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/external/install");
        Command::new(script).args(packages).env_clear().env("PATH", self.path("bin")).output().unwrap()
    }

    /// What apt-get was called with.
    fn calls(&self) -> Vec<String> {
        fs::read_to_string(self.path("calls")).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

fn said(output: &Output) -> Vec<String> {
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect()
}

#[test]
fn what_is_there_and_runs_is_left_alone() {
    let machine = Machine::new(&[("tshark", "wireshark"), ("procps", "procps")]);
    machine.command("tshark", "exit 0");
    machine.command("kill", "exit 0");
    machine.apt("true");
    let output = machine.install(&["tshark", "procps"]);
    assert!(output.status.success() && said(&output).is_empty(), "{output:?}");
    assert_eq!(machine.calls(), [""; 0]);
}

/// The release's qemu-block-extra goes with the release's qemu-utils only, and that of the backports is there.
#[test]
fn apt_never_removes_what_is_there() {
    let machine = Machine::new(&[("qemu-utils", "qemu"), ("qemu-system-common", "qemu"), ("bash", "")]);
    machine.command("qemu-io", "exit 0");
    machine.command("qemu-img", r#"[ "$1" = --version ] || [ -e fits ] || echo "Unknown protocol 'iscsi'""#);
    // It would remove what is in the way, if it were let.
    machine.apt(
        r#"case " $* " in *" --no-remove "*) ;; *) rm -f installed/qemu-utils; touch removed; return ;; esac
        for each in qemu-utils qemu-block-extra qemu-system-common; do
            case "$packages" in *" $each/"*) ;; *) return 1 ;; esac
        done
        touch fits"#,
    );
    let output = machine.install(&["qemu-utils", "qemu-block-extra"]);
    let calls = machine.calls();
    assert!(output.status.success(), "{output:?} {calls:#?}");
    assert!(!machine.path("removed").exists() && machine.path("installed/qemu-utils").exists(), "{calls:#?}");
    // No solution is without what was asked for, and what comes from elsewhere is not pulled along.
    for call in calls.iter().filter(|call| call.contains(" install ")) {
        assert!(call.contains(" qemu-utils ") && call.contains(" qemu-block-extra"), "{call}");
        assert!(call.contains(" --no-remove ") && !call.contains("bash/"), "{call}");
    }
}

#[test]
fn what_does_not_run_is_said_once() {
    let machine = Machine::new(&[("tshark", "wireshark"), ("cpio", "cpio")]);
    machine.command("cpio", "exit 0");
    machine.command("tshark", "echo tshark: no such library; exit 127");
    // It is there already, as far as apt knows.
    machine.apt("true");
    let output = machine.install(&["cpio", "tshark"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(said(&output), ["installing: tshark", "install: not there, or not running: tshark"]);
}

#[test]
fn what_cannot_be_had_is_said_once() {
    let machine = Machine::new(&[]);
    machine.apt("echo 'E: Unable to locate package' >&2; return 1");
    let output = machine.install(&["tshark", "cpio"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = said(&output);
    assert_eq!(said.last().unwrap(), "install: not there, or not running: tshark cpio", "{said:?}");
    assert_eq!(said.iter().filter(|line| line.contains("not running")).count(), 1, "{said:?}");
}

#[test]
fn the_lists_of_packages_are_fetched_where_it_does_not_work_without() {
    let machine = Machine::new(&[]);
    machine.command("cpio", "exit 0");
    machine.apt(r#"case " $* " in *" update "*) touch lists ;; *) [ -e lists ] ;; esac"#);
    let output = machine.install(&["cpio"]);
    let calls = machine.calls();
    assert!(output.status.success(), "{output:?} {calls:#?}");
    assert_eq!(calls.iter().filter(|call| call.ends_with(" update")).count(), 1, "{calls:#?}");
    assert!(calls.last().unwrap().ends_with(" install cpio"), "{calls:#?}");
}

#[test]
fn without_root_and_sudo_it_says_what_to_install() {
    let machine = Machine::new(&[]);
    machine.command("id", "echo 1000");
    machine.apt("true");
    let output = machine.install(&["cpio", "tshark"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = "install: neither root nor sudo; install these yourself: cpio tshark";
    assert_eq!(said(&output), ["installing: cpio tshark", line]);
    assert_eq!(machine.calls(), [""; 0]);
}
