//! The command line. Its values are read by `ringsan::config`, so that an option and the key of a file say the same.

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ringsan::model::lun::OPTIONS;
use std::path::PathBuf;

/// A user-space iSCSI target: serves files, block devices and memory as SCSI logical units.
#[derive(Debug, Parser)]
#[command(name = "ringsan", version, arg_required_else_help = true, after_help = exit_codes())]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// What to log to stderr: off, error, warn, info, debug, trace, or a filter like ringsan::session=debug
    /// (also: RINGSAN_LOG, and `log` in the file)
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log: Option<String>,
    /// How: text, json (an object a line), or journald (to the journal, with fields)
    /// (also: RINGSAN_LOG_FORMAT, and `log-format` in the file)
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve. With nothing else: one 1GiB file, ringsan-data/lun0.img, on 127.0.0.1:3260
    Serve(Box<ServeArgs>),
    /// Say what is wrong with a configuration file, or what it would serve
    Check {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Say how the running server is, and what it serves
    Status(Ask),
    /// Say what the running server has done since it began: commands by LUN, and how long they took
    Stats(Ask),
    /// Watch the running server: cores, logical units and sessions, each second
    Top(TopArgs),
    /// Sessions of the running server
    #[command(subcommand)]
    Session(SessionCommand),
    /// Targets of the running server; what is changed is written to its configuration file, too
    #[command(subcommand)]
    Target(TargetCommand),
    /// Logical units of the running server; what is changed is written to its configuration file, too
    #[command(subcommand)]
    Lun(LunCommand),
    /// Initiator groups of the running server: who finds which logical units
    #[command(subcommand)]
    Group(GroupCommand),
    /// Accounts of the running server: users and secrets for CHAP
    #[command(subcommand)]
    Account(AccountCommand),
    /// Portals of the running server: the addresses that initiators connect to
    #[command(subcommand)]
    Portal(PortalCommand),
    /// Say what would be different if the running server served what a file says, and to whom
    Plan {
        /// The file [default: the server's own, as it is now]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Have the running server serve what a file says, and its own file say so
    Apply {
        /// The file [default: the server's own, as it is now]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        make: Make,
    },
    /// Have the running server read its configuration file again, and say what came of it
    Reload {
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        ask: Ask,
    },
    /// Print the shape of a configuration file as JSON Schema, for editors
    Schema,
    /// Show what passes between initiators and the running server, a line for each PDU, until Ctrl-C
    Trace(TraceArgs),
    /// Say what has happened at the running server: logins, changes, media that fail
    Events(EventsCommand),
    /// The log of the running server
    #[command(subcommand)]
    Log(LogCommand),
    /// Tokens for the control plane over TCP
    #[command(subcommand)]
    Token(TokenCommand),
    /// Print a new secret for CHAP: 96 random bits in 16 characters, or 128 in 22
    Secret {
        /// Random bits in it; Windows takes no more than 96
        #[arg(long, value_name = "N", default_value = "96")]
        bits: SecretBits,
    },
    /// Print what completes these commands in a shell: `ringsan completions bash >/etc/bash_completion.d/ringsan`
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the man page, or write those of all commands into a directory: `ringsan man /usr/local/share/man/man1`
    Man {
        /// The directory; it is made if it is not there
        dir: Option<PathBuf>,
    },
}

/// What the exit codes say, for `--help` and for the man pages.
pub const EXIT_CODES: [(&str, &str); 3] = [
    ("0", "Done, or stopped by SIGTERM or SIGINT."),
    (
        "1",
        "The system refused something that it should not, no server answers, or what was waited for did not come in time.",
    ),
    ("2", "What can be mended by who asks: a wrong option or file, or something that the server says no to."),
];

/// The exit codes behind the help.
fn exit_codes() -> String {
    let lines = EXIT_CODES.map(|(code, means)| format!("  {code}  {means}\n"));
    format!("Exit codes:\n{}", lines.concat())
}

/// What `--help` says of `--lun`: the options that there are.
fn lun_help() -> String {
    let written = OPTIONS.iter().map(|option| option.usage).filter(|usage| !usage.is_empty());
    format!(
        "A logical unit; repeat for more, LUNs count from 0. OPTIONS, with commas between: {}",
        written.collect::<Vec<_>>().join("; ")
    )
}

/// Random bits of a secret.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SecretBits {
    #[value(name = "96")]
    B96,
    #[value(name = "128")]
    B128,
}

/// The options of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Serve what this file says
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "advertise", "target", "lun", "chap", "chap_mutual"])]
    pub config: Option<PathBuf>,
    /// Listen on this address; repeat for more
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<String>,
    /// Tell initiators to connect to this address instead (NAT, guests); the first belongs to the first --listen, ...
    #[arg(long, value_name = "ADDR:PORT")]
    pub advertise: Vec<String>,
    /// The name of the target
    #[arg(long, value_name = "IQN")]
    pub target: Option<String>,
    #[arg(long, value_name = "OPTIONS", help = lun_help())]
    pub lun: Vec<String>,
    /// Initiators must log in as USER with the secret in FILE (CHAP); repeat for more
    #[arg(long, value_name = "USER:FILE")]
    pub chap: Vec<String>,
    /// Log in to initiators that ask for it (mutual CHAP) as USER with the secret in FILE
    #[arg(long, value_name = "USER:FILE", requires = "chap")]
    pub chap_mutual: Option<String>,
    /// Keep what outlives the process (persistent reservations, saved mode pages) in this directory
    #[arg(long, value_name = "DIR")]
    pub state: Option<String>,
    /// Where the control plane is found: the path of a socket, or off
    #[arg(long, value_name = "PATH")]
    pub control_socket: Option<String>,
    /// Do not start, nor take another file over, unless all of its logical units can be served. (Else those that cannot are
    /// left out, shown as degraded, and tried again)
    #[arg(long, requires = "config")]
    pub all_or_nothing: bool,
    /// Run on these cores, like 0,2-5; all that are allowed when not given
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// Microseconds that an active core polls before it sleeps
    #[arg(long, value_name = "N")]
    pub spin_us: Option<String>,
}

/// How the running server is reached, and what is printed.
#[derive(Debug, Clone, Args)]
pub struct Ask {
    /// The control socket of the server [default: /run/ringsan/control.sock, else ringsan-data/control.sock]
    #[arg(long, value_name = "PATH", env = "RINGSAN_SOCKET", hide_env_values = true)]
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub elsewhere: Elsewhere,
    /// What to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

/// What is traced, and where to.
#[derive(Debug, Clone, Args)]
pub struct TraceArgs {
    /// PDUs of this session, by its TSIH as `session ls` shows it
    #[arg(long, value_name = "TSIH")]
    pub session: Option<u16>,
    /// PDUs of sessions at this target, logins included: its name, or what no other has behind its last colon
    #[arg(short, long, value_name = "NAME")]
    pub target: Option<String>,
    /// PDUs that belong to this LUN, and logins
    #[arg(short, long, value_name = "LUN")]
    pub lun: Option<u16>,
    /// Write a capture instead of lines, for Wireshark (pcapng); `-` is stdout
    #[arg(short, long, value_name = "FILE.pcapng")]
    pub write: Option<PathBuf>,
    /// End after so many PDUs
    #[arg(short, long, value_name = "N")]
    pub count: Option<u64>,
    /// End after so many seconds
    #[arg(short, long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Up to 8 KiB of the data of each PDU, too
    #[arg(short, long)]
    pub data: bool,
    /// The control socket of the server [default: /run/ringsan/control.sock, else ringsan-data/control.sock]
    #[arg(long, value_name = "PATH", env = "RINGSAN_SOCKET", hide_env_values = true)]
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub elsewhere: Elsewhere,
}

/// How a server is reached that is not on this machine.
#[derive(Debug, Clone, Default, Args)]
pub struct Elsewhere {
    /// Ask this server over TLS, like https://HOST:PORT (also: RINGSAN_SERVER, where no socket is named)
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The file with the token for it
    #[arg(long, value_name = "FILE", env = "RINGSAN_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
    /// Trust these certificates (PEM), for example the one that the server has made itself [default: those that the system trusts]
    #[arg(long, value_name = "FILE", env = "RINGSAN_CA", hide_env_values = true)]
    pub ca: Option<PathBuf>,
}

/// What is asked of tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Print a new one, as a line for the file that `tokens` of [control] names
    New {
        /// What it is called in that file, and in the log
        #[arg(long, value_name = "N")]
        name: String,
        /// It may see, and change nothing
        #[arg(long)]
        read: bool,
    },
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs: what the control interface says.
    Json,
    /// The same as YAML.
    Yaml,
}

/// How `top` is shown.
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// Print one table of one second, and end; so it is where stdout is no terminal
    #[arg(long)]
    pub once: bool,
    #[command(flatten)]
    pub ask: Ask,
}

/// Whether it is waited for what cannot be served at once.
#[derive(Debug, Clone, Copy, Args)]
pub struct Wait {
    /// Wait until what has to wait for a file that is still open otherwise is served, too
    #[arg(long)]
    pub wait: bool,
    /// Seconds that --wait waits, at most; exit code 1 if it is not served by then
    #[arg(long, value_name = "SECONDS", default_value = "60", requires = "wait", value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub timeout: u64,
}

/// What is asked of sessions.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List them
    Ls(Ask),
    /// Show one, with all that was negotiated
    Show {
        /// Its TSIH, as `ls` shows it
        tsih: u16,
        #[command(flatten)]
        ask: Ask,
    },
    /// Drop one: its initiator is told, its commands are aborted. It may log in again
    Drop {
        /// Its TSIH, as `ls` shows it
        tsih: u16,
        #[command(flatten)]
        ask: Ask,
    },
}

/// How something is changed.
#[derive(Debug, Clone, Args)]
pub struct Make {
    /// Say what would be different, and to whom, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Change it also if sessions that are there lose something by it
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub wait: Wait,
    #[command(flatten)]
    pub ask: Ask,
}

/// What is asked of targets.
#[derive(Debug, Subcommand)]
pub enum TargetCommand {
    /// List them, with their logical units
    Ls(Ask),
    /// Show one
    Show {
        /// Its iSCSI name
        name: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Add one, without logical units: `target add iqn.2026-11.com.example:db -s alias=database`
    Add {
        /// Its iSCSI name
        name: String,
        #[command(flatten)]
        set: SetArgs,
        #[command(flatten)]
        make: Make,
    },
    /// Give one other settings: `target set db alias=database accounts=db,backup`
    Set {
        /// Its name, or what no other has behind its last colon
        name: String,
        /// KEY=VALUE, KEY for what is true, or KEY= for the default
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        make: Make,
    },
    /// Serve one no more, with its logical units and groups. What those have stays where it is
    Rm {
        /// Its name, or what no other has behind its last colon
        name: String,
        #[command(flatten)]
        make: Make,
    },
}

/// Settings of something new.
#[derive(Debug, Clone, Args)]
pub struct SetArgs {
    /// A setting, as the configuration file has it: KEY=VALUE, KEY for what is true, with commas between several; repeat for more
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// What is asked of initiator groups.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List those of all targets, or of one
    Ls {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        ask: Ask,
    },
    /// Add one, behind the others of its target: `group add hosts -t db -s initiators=iqn.2026-11.com.example:* -s luns=0,1`
    Add {
        /// Its name
        name: String,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        set: SetArgs,
        #[command(flatten)]
        make: Make,
    },
    /// Give one other settings: `group set hosts luns=0,"5 as 1" iops=`
    Set {
        /// Its name, or its place from 1 on if it has none
        name: String,
        /// KEY=VALUE, or KEY= for the default
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        make: Make,
    },
    /// Take one away
    Rm {
        /// Its name, or its place from 1 on if it has none
        name: String,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        make: Make,
    },
}

/// What is asked of accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// List them, without their secrets
    Ls(Ask),
    /// Add one: `account add db --secret-file /etc/ringsan/db.secret`
    Add {
        /// The user name (CHAP_N)
        user: String,
        /// The file with the secret, for its owner only
        #[arg(long, value_name = "FILE", required_unless_present = "set")]
        secret_file: Option<PathBuf>,
        #[command(flatten)]
        set: SetArgs,
        #[command(flatten)]
        make: Make,
    },
    /// Give one other settings
    Set {
        /// The user name
        user: String,
        /// KEY=VALUE
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        make: Make,
    },
    /// Take one away that nothing names any more
    Rm {
        /// The user name
        user: String,
        #[command(flatten)]
        make: Make,
    },
}

/// What is asked of portals.
#[derive(Debug, Subcommand)]
pub enum PortalCommand {
    /// List them
    Ls(Ask),
    /// Add one: `portal add 192.0.2.1:3260 -s group=2`
    Add {
        /// The address and port
        listen: String,
        #[command(flatten)]
        set: SetArgs,
        #[command(flatten)]
        make: Make,
    },
    /// Give one other settings
    Set {
        /// The address and port
        listen: String,
        /// KEY=VALUE, or KEY= for the default
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        make: Make,
    },
    /// Take one away
    Rm {
        /// The address and port
        listen: String,
        #[command(flatten)]
        make: Make,
    },
}

/// Which target is meant.
#[derive(Debug, Clone, Args)]
pub struct Of {
    /// The target: its name, or what no other has behind its last colon; not needed where there is one
    #[arg(short, long, value_name = "NAME")]
    pub target: Option<String>,
}

/// What is asked of logical units.
#[derive(Debug, Subcommand)]
pub enum LunCommand {
    /// List them
    Ls(Ask),
    /// Serve a file or device, or memory: `lun add /dev/nvme0n1 --target db`, `lun add disk.img -s size=1GiB -s thin`
    Add {
        /// The file or device
        #[arg(required_unless_present = "set")]
        path: Option<PathBuf>,
        #[command(flatten)]
        of: Of,
        /// The LUN [default: the lowest that is free]
        #[arg(short, long)]
        number: Option<u16>,
        /// A setting, as the configuration file has it: KEY=VALUE, or KEY for what is true; repeat for more
        #[arg(short, long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        #[command(flatten)]
        make: Make,
    },
    /// Give one other settings: `lun set 0 iops=500 bandwidth=`
    Set {
        /// The LUN
        number: u16,
        /// KEY=VALUE, KEY for what is true, or KEY= for the default
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        make: Make,
    },
    /// Give one another size; a file grows with it
    Resize {
        /// The LUN
        number: u16,
        /// Like 20GiB
        size: String,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        make: Make,
    },
    /// Serve one no more. What it has stays where it is
    Rm {
        /// The LUN
        number: u16,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        make: Make,
    },
}

/// What is asked of events.
#[derive(Debug, Args)]
pub struct EventsCommand {
    /// Go on with what happens from now on
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    pub ask: Ask,
}

/// What is asked of the log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Say what it leaves out, or have it leave out something else until the next start: `log level ringsan::session=debug,info`
    Level {
        /// off, error, warn, info, debug, trace, or a filter, as `--log` has it
        filter: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
}
