//! What is made of the command line itself: completion for shells, and man pages. Neither is kept anywhere, so none of it can be
//! out of step with the program.

use crate::cli::{Cli, EXIT_CODES};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::{self, Write};
use std::path::Path;

/// The completion script for a shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ringsan", &mut script);
    script
}

/// A man page: the name of its file, and its text.
pub type Page = (String, Vec<u8>);

/// The man page of the program, and one of each command, in the order of the help.
///
/// # Errors
/// Writing to memory has failed.
pub fn man_pages() -> io::Result<Vec<Page>> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add_pages(command, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: Command, pages: &mut Vec<Page>) -> io::Result<()> {
    let below: Vec<Command> = command.get_subcommands().filter(|of| !of.is_hide_set()).cloned().collect();
    let man = Man::new(command).manual("ringsan");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if !below.is_empty() {
        man.render_subcommands_section(&mut text)?;
    }
    writeln!(text, ".SH \"EXIT STATUS\"")?;
    for (code, means) in EXIT_CODES {
        writeln!(text, ".TP\n\\fB{code}\\fR\n{means}")?;
    }
    pages.push((man.get_filename(), text));
    below.into_iter().try_for_each(|command| add_pages(command, pages))
}

/// Writes all man pages into a directory, which is made if it is not there. Returns how many there are.
///
/// # Errors
/// They cannot be written there.
pub fn write_man_pages(directory: &Path) -> io::Result<usize> {
    std::fs::create_dir_all(directory)?;
    let pages = man_pages()?;
    for (name, text) in &pages {
        std::fs::write(directory.join(name), text)?;
    }
    Ok(pages.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;
    use std::process::{Command as Process, Stdio};

    /// The names of all commands at all depths, each with those above it.
    fn commands(command: &Command, above: &[String], all: &mut Vec<Vec<String>>) {
        for below in command.get_subcommands() {
            let path = [above, &[below.get_name().to_owned()]].concat();
            commands(below, &path, all);
            all.push(path);
        }
    }

    fn all_commands() -> Vec<Vec<String>> {
        let mut all = Vec::new();
        commands(&Cli::command(), &[], &mut all);
        assert!(all.len() > 15, "{all:?}");
        all
    }

    /// Runs a program on a file and returns what it says on stderr; nothing: it is not installed.
    fn complaints(program: &str, words: &[&str], file: &Path) -> Option<String> {
        let run = Process::new(program).args(words).arg(file).stdin(Stdio::null()).stdout(Stdio::null()).output();
        match run {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                Some(if output.status.success() { said } else { format!("{said} ({})", output.status) })
            }
            Err(_) => {
                eprintln!("{program} is not installed: {} is not tried", file.display());
                None
            }
        }
    }

    #[test]
    fn every_command_is_completed_in_every_shell() {
        let directory = tempfile::tempdir().unwrap();
        for shell in Shell::value_variants() {
            let script = String::from_utf8(completions(*shell)).unwrap();
            for path in all_commands() {
                let name = path.last().unwrap();
                assert!(script.contains(name.as_str()), "{shell} does not know {path:?}");
            }
        }
        let file = directory.path().join("ringsan.bash");
        std::fs::write(&file, completions(Shell::Bash)).unwrap();
        assert_eq!(complaints("bash", &["-n"], &file).unwrap_or_default(), "");
        // What bash itself makes of it.
        let ask = "source \"$0\"; COMP_WORDS=(ringsan lun \"\"); COMP_CWORD=2; _ringsan ringsan \"\" lun; echo \"${COMPREPLY[@]}\"";
        if let Ok(output) = Process::new("bash").args(["-c", ask]).arg(&file).output() {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            for word in ["ls", "add", "set", "resize", "rm"] {
                assert!(said.split_whitespace().any(|one| one == word), "{word}: {said} {output:?}");
            }
        }
    }

    #[test]
    fn every_command_has_a_man_page_without_faults() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("man/man1");
        let count = write_man_pages(&below).unwrap();
        assert_eq!(count, all_commands().len() + 1);
        for path in all_commands() {
            let file = below.join(format!("ringsan-{}.1", path.join("-")));
            let text = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{path:?} has no page"));
            assert!(text.contains("EXIT STATUS") && text.contains(".SH SYNOPSIS"), "{text}");
            assert_eq!(complaints("groff", &["-man", "-ww", "-Tutf8", "-z"], &file).unwrap_or_default(), "");
        }
        let page = std::fs::read_to_string(below.join("ringsan.1")).unwrap();
        assert!(EXIT_CODES.iter().all(|(_, means)| page.contains(means)), "{page}");
        assert!(page.contains("ringsan\\-lun(1)") && !page.contains("Exit codes:"), "{page}");
        assert_eq!(
            complaints("groff", &["-man", "-ww", "-Tutf8", "-z"], &below.join("ringsan.1")).unwrap_or_default(),
            ""
        );
        assert!(write_man_pages(&below.join("ringsan.1")).is_err(), "there is a file");
    }
}
