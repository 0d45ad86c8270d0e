//! The program: reads the command line, checks what can be checked before anything is served, and serves.
//!
//! Exit code 0: done, or stopped by SIGTERM or SIGINT. 2: the user can mend it. 1: the system refused something that it
//! should not. Either way one line on stderr says what.

mod admin;
mod cli;
mod generate;
mod logging;
mod preflight;

use admin::top::TopError;
use clap::Parser;
use clap::error::ErrorKind;
use cli::{Cli, Command, SecretBits, ServeArgs, TokenCommand, TopArgs};
use logging::Asked;
use ringsan::backend;
use ringsan::config::{self, Config, ControlSocket, Options, Overrides, describe};
use ringsan::limits::LAST_WORDS;
use ringsan::log::Spool;
use ringsan::mgmt::client::ClientError;
use ringsan::mgmt::remote::Remote;
use ringsan::mgmt::socket::{self, Socket};
use ringsan::mgmt::{Entrances, Voice};
use ringsan::model::Snapshot;
use ringsan::model::control::Scope;
use ringsan::serve::{ConfigFile, MissingLun, Read, Reading, Reread, ServeError};
use ringsan::session::login::chap::{SECRET_OF_96_BITS, SECRET_OF_128_BITS, generate_secret};
use std::fs::File;
use std::io::{Read as _, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use zeroize::Zeroizing;

/// Exit code for what the user can mend.
const USAGE: u8 = 2;

/// Characters of a token, of 6 random bits each.
const TOKEN_CHARACTERS: usize = 43;

/// Exit code for the rest.
const FAILURE: u8 = 1;

/// One line that says what is wrong, and the exit code.
struct Fault {
    line: String,
    code: u8,
}

impl From<String> for Fault {
    fn from(line: String) -> Self {
        Self { line, code: USAGE }
    }
}

impl From<ServeError> for Fault {
    fn from(error: ServeError) -> Self {
        let code = if matches!(error, ServeError::System(_)) { FAILURE } else { USAGE };
        Self { line: error.to_string(), code }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let done = match cli.command {
        Command::Serve(args) => serve(&args, (cli.log.as_deref(), cli.log_format.as_deref())),
        Command::Check { config } => return check(&config),
        Command::Status(ask) => answered(admin::status(&ask)),
        Command::Stats(ask) => answered(admin::stats(&ask)),
        Command::Top(args) => top(&args),
        Command::Session(command) => answered(admin::session(&command)),
        Command::Target(command) => answered(admin::target(&command)),
        Command::Lun(command) => answered(admin::lun(&command)),
        Command::Group(command) => answered(admin::group(&command)),
        Command::Account(command) => answered(admin::account(&command)),
        Command::Portal(command) => answered(admin::portal(&command)),
        Command::Plan { config, ask } => answered(admin::plan(config.as_deref(), &ask)),
        Command::Apply { config, make } => answered(admin::apply(config.as_deref(), &make)),
        Command::Reload { wait, ask } => answered(admin::reload(&ask, wait)),
        Command::Schema => {
            say(&config::schema::schema());
            Ok(ExitCode::SUCCESS)
        }
        Command::Trace(args) => answered(admin::trace::trace(&args)),
        Command::Events(command) => answered(admin::events::events(&command)),
        Command::Log(command) => answered(admin::events::log(&command)),
        Command::Token(TokenCommand::New { name, read }) => token(&name, read).map(|()| ExitCode::SUCCESS),
        Command::Secret { bits } => secret(bits).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => print(&generate::completions(shell)),
        Command::Man { dir } => man(dir.as_deref()),
    };
    match done {
        Ok(code) => code,
        Err(fault) => {
            fail(&fault.line);
            ExitCode::from(fault.code)
        }
    }
}

/// Prints what a running server has answered. Exit code 2: there is no such thing, or the server says no; 1: it is not there.
fn answered(answer: Result<String, ClientError>) -> Result<ExitCode, Fault> {
    match answer {
        Ok(text) => {
            say(&text);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let code = if matches!(error, ClientError::Refused(_) | ClientError::File { .. } | ClientError::Unusable(_))
            {
                USAGE
            } else {
                FAILURE
            };
            Err(Fault { line: admin::hint::explained(&error), code })
        }
    }
}

/// Says on stderr what is wrong.
fn fail(fault: &str) -> ExitCode {
    // Nothing is left to be told to when stderr is closed.
    let _ = std::io::stderr().write_all(failure(fault).as_bytes());
    ExitCode::from(USAGE)
}

/// The line about it. Line breaks can come in with a path or a value: one fault stays one line.
fn failure(fault: &str) -> String {
    format!("ringsan: {}\n", fault.replace(['\n', '\r'], " "))
}

/// Help and version as clap prints them; of its errors, which take several lines, what is wrong and the tip.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(USAGE)
        }
        _ => {
            let text = error.to_string();
            let said = text.split("\n\nUsage:").next().unwrap_or_default();
            let said = said.split("\n\nFor more information").next().unwrap_or_default();
            let words: Vec<&str> = said.split_whitespace().collect();
            let line = words.join(" ");
            fail(line.strip_prefix("error: ").unwrap_or(&line))
        }
    }
}

/// `ringsan check`: every fault on a line of its own, or what would be served.
fn check(file: &Path) -> ExitCode {
    match config::from_file(file) {
        Ok(config) => {
            for warning in &config.warnings {
                fail(&format!("warning: {warning}"));
            }
            for lun in config.snapshot.targets.iter().flat_map(|target| &target.luns) {
                for remark in backend::remarks(lun) {
                    fail(&format!("warning: {remark}"));
                }
            }
            say(&format!("{}: ok\n{}", file.display(), describe::serves(&config.snapshot)));
            ExitCode::SUCCESS
        }
        Err(error) => {
            for fault in error.faults() {
                fail(&fault.to_string());
            }
            ExitCode::from(USAGE)
        }
    }
}

/// `ringsan secret`.
fn secret(bits: SecretBits) -> Result<(), Fault> {
    let characters = match bits {
        SecretBits::B96 => SECRET_OF_96_BITS,
        SecretBits::B128 => SECRET_OF_128_BITS,
    };
    say(&random_text(characters)?);
    say("\n");
    Ok(())
}

/// `ringsan top`.
fn top(args: &TopArgs) -> Result<ExitCode, Fault> {
    match admin::top::run(args) {
        Ok(text) => answered(Ok(text)),
        Err(TopError::Client(error)) => answered(Err(error)),
        Err(error @ TopError::Terminal(_)) => Err(Fault { line: error.to_string(), code: FAILURE }),
    }
}

/// `ringsan man`.
fn man(directory: Option<&Path>) -> Result<ExitCode, Fault> {
    let failed = |what: String| move |error: std::io::Error| Fault { line: format!("{what}: {error}"), code: USAGE };
    let Some(directory) = directory else {
        let pages = generate::man_pages().map_err(failed("man page".to_owned()))?;
        return print(pages.first().map_or(&[][..], |(_, text)| text));
    };
    let at = directory.display().to_string();
    let count = generate::write_man_pages(directory).map_err(failed(at.clone()))?;
    say(&format!("{count} man pages are in {at}\n"));
    Ok(ExitCode::SUCCESS)
}

/// Prints what is to be put into a file: unlike what is for people, it has to get there.
fn print(text: &[u8]) -> Result<ExitCode, Fault> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Fault { line: format!("stdout: {error}"), code: FAILURE }),
    }
}

/// `ringsan token new`.
fn token(name: &str, read: bool) -> Result<(), Fault> {
    let scope = if read { Scope::Read } else { Scope::Full };
    let line = Zeroizing::new(format!("{name} {} {}\n", scope.word(), random_text(TOKEN_CHARACTERS)?.as_str()));
    config::check_tokens(&line).map_err(|why| format!("--name {}: {why}", name.escape_debug()))?;
    say(&line);
    Ok(())
}

/// Characters that nobody can guess.
fn random_text(characters: usize) -> Result<Zeroizing<String>, Fault> {
    let mut done = Ok(());
    let mut random = |bytes: &mut [u8]| done = File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes));
    let text = generate_secret(characters, &mut random);
    done.map_err(|e| Fault { line: format!("/dev/urandom: {e}"), code: FAILURE })?;
    Ok(text)
}

/// `ringsan serve`: returns when the service has been stopped. Neither it nor its end waits for who reads what it says.
fn serve(args: &ServeArgs, (level, format): (Option<&str>, Option<&str>)) -> Result<ExitCode, Fault> {
    let config = configuration(args, None).map_err(|e| e.to_string())?;
    let failed = |e| Fault { line: format!("cannot start: {e}"), code: FAILURE };
    let out = Spool::start("ringsan-out", std::io::stdout()).map_err(failed)?;
    let (log, log_format) = (config.log.clone(), config.log_format.clone());
    let asked = Asked { level: (level, log.as_deref()), format: (format, log_format.as_deref()) };
    let errors = logging::spool(asked).map_err(|wrong| wrong.map_or_else(Fault::from, failed))?;
    errors.take_panics();
    let voice = logging::start(asked, &errors)?;
    let (said, code) = match serve_config(args, config, &out, voice) {
        Ok(()) => (String::new(), ExitCode::SUCCESS),
        Err(fault) => (failure(&fault.line), ExitCode::from(fault.code)),
    };
    errors.last_words(&said, LAST_WORDS);
    out.last_words("", Duration::from_millis(100));
    Ok(code)
}

fn serve_config(args: &ServeArgs, config: Config, out: &Spool, voice: Voice) -> Result<(), Fault> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    preflight::ignore_file_size_signal();
    preflight::raise_descriptors();
    preflight::listen(&config.snapshot)?;
    for path in config::create_directories(&config.snapshot)? {
        tracing::info!(path = %path.display(), "created");
    }
    preflight::raise_memlock(&config.snapshot);
    let control = control_socket(&config)?;
    let remote = Remote::open(&config.snapshot)?;
    let said = control_lines(&control, &remote, &config.snapshot);
    let mut snapshot = config.snapshot.clone();
    let again = args.clone();
    let (read, tag): (Box<Reread>, _) = (Box::new(move |reading| reread(&again, reading)), config.tag);
    let file = args.config.clone().map(|path| ConfigFile { path, tag, read });
    let control = Some((Entrances { socket: control.ok().flatten(), remote }, voice));
    ringsan::serve::serve(config.snapshot, file, control, move |bound: &[SocketAddr], missing: &[MissingLun]| {
        // Not before: a start that fails is one line.
        for line in &said {
            match line {
                Ok(line) => tracing::info!("{line}"),
                Err(line) => tracing::warn!("{line}"),
            }
        }
        // What is not served, the log says, and why.
        for target in &mut snapshot.targets {
            let is_missing = |number| missing.iter().any(|of| of.target == target.name && of.lun.number == number);
            target.luns.retain(|lun| !is_missing(lun.number));
        }
        let addresses: Vec<String> = bound.iter().map(ToString::to_string).collect();
        let (serves, commands) = (describe::serves(&snapshot), describe::commands(&snapshot, bound));
        out.say(format!("{serves}{commands}ringsan: ready on {}\n", addresses.join(", ")).as_bytes());
    })
    .map_err(Fault::from)
}

/// The socket of the control plane; the error, where it is only usual: why there is none. Disks are served without it, too.
fn control_socket(config: &Config) -> Result<Result<Option<Socket>, String>, Fault> {
    let paths = match &config.control {
        ControlSocket::Off => return Ok(Ok(None)),
        ControlSocket::At(path) => vec![path.clone()],
        ControlSocket::Usual => vec![socket::DEFAULT.into(), config.snapshot.state.join(socket::NAME)],
    };
    let group = config.snapshot.control.group.as_ref().map(|(_, number)| *number);
    match Socket::first(&paths, group) {
        Err(why) if config.control != ControlSocket::Usual => Err(Fault::from(format!("control-socket: {why}"))),
        socket => Ok(socket.map(Some)),
    }
}

/// Says where the control plane is found, a line each for the log; the errors are warnings.
fn control_lines(
    socket: &Result<Option<Socket>, String>,
    remote: &Option<Remote>,
    snapshot: &Snapshot,
) -> Vec<Result<String, String>> {
    let mut lines = Vec::new();
    match socket {
        Ok(Some(socket)) => {
            let path = socket.path().display();
            lines.push(Ok(format!("control socket path={path}")));
            if let Some((name, number)) = &snapshot.control.group
                && !socket.is_open_to(*number)
            {
                lines.push(Err(format!(
                    "control.group: members of {name} cannot enter the directory of {path}: chgrp and chmod g+x it, or choose \
                     another control-socket"
                )));
            }
        }
        Ok(None) => {}
        Err(why) => {
            lines.push(Err(format!("no control socket, so ringsan status and others will not find this server: {why}")))
        }
    }
    lines.extend(remote.as_ref().map(|remote| Ok(remote.says())));
    lines
}

/// The configuration file once more.
fn reread(args: &ServeArgs, reading: Reading<'_>) -> Result<Read, Vec<String>> {
    let config = configuration(args, reading.text)
        .map_err(|error| error.faults().iter().map(ToString::to_string).collect::<Vec<_>>())?;
    if reading.make {
        config::create_directories(&config.snapshot).map_err(|fault| vec![fault])?;
    }
    let warnings = config.warnings.iter().map(ToString::to_string).collect();
    Ok(Read { snapshot: config.snapshot, warnings, tag: config.tag })
}

fn configuration(args: &ServeArgs, text: Option<&str>) -> Result<Config, config::ConfigError> {
    let mut config = match (&args.config, text) {
        (Some(file), text) => config::to_serve(file, text, args.all_or_nothing)?,
        (None, _) => config::from_options(&Options {
            listen: args.listen.clone(),
            advertise: args.advertise.clone(),
            target: args.target.clone(),
            lun: args.lun.clone(),
            chap: args.chap.clone(),
            chap_mutual: args.chap_mutual.clone(),
        })?,
    };
    let overrides = Overrides {
        cores: args.cores.clone(),
        spin_us: args.spin_us.clone(),
        state: args.state.clone(),
        control_socket: args.control_socket.clone(),
    };
    overrides.apply(&mut config)?;
    Ok(config)
}

/// Writes to stdout at once. Who reads it may have gone: that is no reason to stop serving.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
