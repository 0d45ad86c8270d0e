//! Every bound in one place, with const asserts on their relations. A peer can make ringsan use no more than these.

/// Login, text and control PDUs carry at most this many data bytes from the initiator
/// (RFC 7143 section 13.12: the default MaxRecvDataSegmentLength, in force until the login is done).
pub const MAX_CONTROL_DATA_BYTES: usize = 8192;
/// Bytes of text that one negotiation may add up to over PDUs with the C bit (RFC 7143 section 6.2 asks for 8192;
/// 64 KiB during the security stage).
pub const MAX_TEXT_BYTES: usize = 65_536;
/// Pairs of key and value in that text: there are some 45 keys, and each may come once.
pub const MAX_TEXT_PAIRS: usize = 1024;
/// Bytes of our own text in one turn of a login or text negotiation: the answer to SendTargets is the longest (about
/// 8000 targets at one address).
pub const MAX_TEXT_ANSWER_BYTES: usize = 1 << 20;
/// Request/response exchanges of one login or text negotiation.
pub const MAX_TEXT_EXCHANGES: u32 = 64;
/// MaxRecvDataSegmentLength that we declare: a 256 KiB write arrives as one PDU.
pub const TARGET_MAX_RECV_BYTES: u32 = 262_144;
/// The most that MaxBurstLength is negotiated to: what Linux offers (16 MiB less 1 KiB).
pub const MAX_BURST_BYTES: u32 = 16_776_192;
/// The most that FirstBurstLength is negotiated to.
pub const FIRST_BURST_BYTES: u32 = 262_144;
/// The most R2Ts outstanding for one task.
pub const MAX_OUTSTANDING_R2T: u16 = 8;
/// Non-immediate commands that one session may have open: the command window (Linux opens 128).
pub const COMMAND_WINDOW: u32 = 128;
/// Immediate commands that one session may have open besides; more are rejected with reason 6 (RFC 7143 4.2.2.1).
pub const IMMEDIATE_COMMANDS: usize = 8;
/// Task slots of a session.
pub const TASKS_PER_SESSION: usize = COMMAND_WINDOW as usize + IMMEDIATE_COMMANDS;
/// Connections of one session.
pub const CONNECTIONS_PER_SESSION: usize = 8;
/// Slots for them: one more, so that a connection can be reinstated while its predecessor is being closed.
pub const CONNECTION_SLOTS: usize = CONNECTIONS_PER_SESSION + 1;
/// Connections of one session that are gone but whose tasks may be reassigned (ErrorRecoveryLevel 2).
pub const LOST_CONNECTIONS: usize = 16;
/// Responses of one connection that are kept until they are acknowledged (ErrorRecoveryLevel 1 and 2).
pub const KEPT_RESPONSES: usize = 512;
/// Bytes that those take: headers, data segments, and what is remembered of how their read data was cut.
pub const KEPT_RESPONSE_BYTES: usize = 256 << 10;
/// The same of all sessions of one core together, with parameter data and requests that wait for an earlier CmdSN. With so
/// many, a connection keeps only `KEPT_RESPONSE_BYTES_BESIDE`, and a session one connection that is gone: no address alone
/// makes a core keep hundreds of megabytes for as long as it pings.
pub const KEPT_BYTES_PER_CORE: usize = 64 << 20;
/// One host has this part of what all sessions of a core keep, of their negotiations, and of what is to be saved, at most:
/// more than that, and it is as if there were too many for all.
pub const KEPT_PARTS_OF_A_HOST: usize = 4;
/// A host that has less than this part is not kept short by what others have, unless those come to twice the bound: some
/// dozens of hosts would have to be at it.
pub const KEPT_PARTS_OF_A_HOST_BESIDE: usize = 64;
/// Bytes of responses that one connection keeps while there are too many for all together: those of some commands, and what
/// was sent last whatever it is. A session keeps no more parameter data then, either.
pub const KEPT_RESPONSE_BYTES_BESIDE: usize = 4 << 10;
/// Bytes of text negotiations under way in full feature phase, on all connections of one core: 32 of the longest answers.
/// With so many, a longer one than `NEGOTIATION_BYTES_BESIDE` is refused unless it ends with its first answer.
pub const NEGOTIATION_BYTES_PER_CORE: usize = 32 << 20;
/// Bytes of one that goes on nevertheless: the keys of a PDU.
pub const NEGOTIATION_BYTES_BESIDE: usize = 2 * MAX_CONTROL_DATA_BYTES;
/// Pieces of read data that one session may have asked to be read again at a time.
pub const RESENDS: usize = 256;
/// Statuses of one connection that an initiator remembers while one before them, or the data of one, has not come.
pub const INITIATOR_STATUSES: usize = 1024;
/// Stretches of read data, by DataSN, that an initiator remembers of one command (ErrorRecoveryLevel 1 and 2). What comes
/// beyond that counts as lost.
pub const INITIATOR_RUNS: usize = 256;
/// Bytes of a target's answer that is no read data (text, sense, a rejected header) that an initiator takes.
pub const INITIATOR_ANSWER_BYTES: usize = 1 << 20;
/// Data-Out that does not come for this long is asked for again (ErrorRecoveryLevel 1 and 2), milliseconds.
pub const SEQUENCE_TIMEOUT_MS: u64 = 2_000;
/// Times that the data of one task is asked for again.
pub const RECOVERY_R2TS: u8 = 32;
/// A function on many tasks waits this long for the Data-Out of their outstanding R2Ts, milliseconds.
pub const DRAIN_TIMEOUT_MS: u64 = 500;
/// A response that is fenced, and those behind it, wait this long for an acknowledgment, milliseconds.
pub const FENCE_WAIT_MS: u64 = 1_000;
/// An aborted task waits this long for what it has on the medium before it is let go of without, milliseconds.
pub const ABORT_GRACE_MS: u64 = 250;
/// A read that fails although each of its blocks can be read by itself is tried again so often.
pub const LOCATED_READS: u8 = 4;
/// Operations that outlived their tasks, of one unit on one core: with so many, commands for its medium are answered BUSY.
pub const STRAYS_PER_UNIT: usize = 32;
/// Errands of one unit (GET LBA STATUS) that wait for its thread: one more is answered BUSY.
pub const ERRANDS_PER_UNIT: usize = 64;
/// How often a VERIFY has the page cache forget its range before it reads what may be cached.
pub const EVICTIONS: usize = 8;
/// How much of a range is looked for in the page cache at a time, bytes: some 100 us where all of it is there.
pub const CACHE_LOOK_BYTES: u64 = 4 << 20;
/// A command waits this long for the blocks of an operation that has outlived its task, milliseconds.
pub const STRAY_WAIT_MS: u64 = 5_000;
/// A medium that leaves an operation unanswered for this long is not ready, milliseconds.
pub const MEDIUM_HANG_MS: u64 = 5_000;
/// How long the end of the process waits for the next medium to say that it is flushed. (A service manager's patience is 90 s as
/// a rule.)
pub const MEDIUM_END: std::time::Duration = std::time::Duration::from_secs(60);
/// How long a reload waits for a file to be opened, made or grown. (To give a large one its space may take as long.)
pub const FILE_WAIT: std::time::Duration = std::time::Duration::from_secs(60);
/// Media that are flushed at a time beside the cores: at the end of the process, and before units that leave are closed. Those
/// that do not answer are not counted.
pub const SYNC_THREADS: usize = 16;
/// Connections of one core, logged in or not.
pub const CONNECTIONS_PER_CORE: usize = 4096;
/// Connections of one core that have not finished their login.
pub const HALF_OPEN_PER_CORE: usize = 256;
/// Connections of the process, logged in or not, unless configured.
pub const CONNECTIONS: usize = 16_384;
/// Connections from one address, unless configured: all that a hypervisor with many sessions needs, and no more than half
/// of what a single core takes.
pub const CONNECTIONS_PER_ADDRESS: usize = CONNECTIONS_PER_CORE / 2;
/// Connections of one core that are left to other hosts when one has been configured to more than a core takes.
pub const CONNECTIONS_FOR_OTHERS: usize = CONNECTIONS_PER_CORE / 4;
/// Sessions of one core without a connection whose tasks may be reassigned (ErrorRecoveryLevel 2).
pub const LOST_SESSIONS: usize = 256;
/// Those of one initiator, by its name.
pub const LOST_SESSIONS_PER_INITIATOR: usize = 8;
/// Those from one address.
pub const LOST_SESSIONS_PER_ADDRESS: usize = 64;
/// Those from one host, which may have a whole /64 of IPv6: a quarter is for others.
pub const LOST_SESSIONS_PER_HOST: usize = LOST_SESSIONS / 4 * 3;
/// The first authentication that fails is answered after this long, milliseconds; each further one from the same host
/// after twice as long.
pub const FAILED_LOGIN_DELAY_MS: u64 = 250;
/// The longest that a failed authentication waits for its answer, milliseconds.
pub const FAILED_LOGIN_MOST_MS: u64 = 4_000;
/// Failed authentications of a host are forgotten when there has been none for this long, milliseconds.
pub const FAILED_LOGIN_MEMORY_MS: u64 = 60_000;
/// Hosts whose failed authentications are remembered.
pub const FAILED_LOGIN_ADDRESSES: usize = 1024;
/// Log lines that peers can cause, each second and thread, of each share ([`crate::noise`]). A flood must not turn into a flood of log lines.
pub const PEER_LINES_PER_SECOND: u32 = 20;
/// Descriptors that connections leave to everything else that has to be opened: saved state, logical units that come, and who uses
/// the control plane.
pub const RESERVED_DESCRIPTORS: usize = 128;
/// Niceness of the thread that stores what outlives the process, over that of the cores.
pub const KEEPER_NICENESS: i32 = 10;
/// Descriptors that are held for saving state when there are no others, neither for this process nor for the system.
pub const STATE_DESCRIPTORS: usize = 4;
/// How long accepting rests when there is no descriptor, or no memory, for a connection.
pub const ACCEPT_REST: std::time::Duration = std::time::Duration::from_millis(200);
/// Nor is it accepted while something is being stored with the last descriptors: a core looks this often whether that is over.
pub const SAVING_REST: std::time::Duration = std::time::Duration::from_millis(10);
/// Without any for this long, a shortage of those is over, and the next one is said again.
pub const SHORTAGE_OVER: std::time::Duration = std::time::Duration::from_secs(10);
/// The most that connections of a core, or those from one address, can be configured to.
pub const MAX_CONNECTIONS: usize = 1 << 20;
/// Connections from one address to one core that have not finished their login, unless configured: one
/// host alone does not take all places, and one that logs in many sessions at once has enough.
pub const HALF_OPEN_PER_ADDRESS: usize = HALF_OPEN_PER_CORE / 4 * 3;
/// Time from accept to the end of the login, milliseconds, unless configured.
pub const LOGIN_TIMEOUT_MS: u64 = 15_000;
/// The longest time for a login that can be configured, seconds.
pub const MAX_LOGIN_TIMEOUT_S: usize = 600;
/// A connection silent for this long is asked with a NOP-In, milliseconds. Initiators ping more often themselves; this is
/// for those that are gone, and each ping of an idle session finds nothing in the caches.
pub const NOP_INTERVAL_MS: u64 = 30_000;
/// A NOP-In unanswered for this long ends its connection, milliseconds.
pub const NOP_TIMEOUT_MS: u64 = 15_000;
/// A connection whose peer takes no bytes for this long is closed, milliseconds.
pub const SEND_TIMEOUT_MS: u64 = 30_000;
/// Bytes of answers that are queued for one connection: headers, texts, and the vectors of a send. LUN data lies elsewhere.
/// With so many, nothing more is received or made for it, until some have left. What one PDU asks for may still come
/// on top: the longest is a text (`MAX_TEXT_ANSWER_BYTES`).
pub const QUEUED_BYTES: usize = 256 << 10;
/// The same of all connections of one core together. With so many, each has room for only
/// `QUEUED_BYTES_BESIDE`, until some have left.
pub const QUEUED_BYTES_PER_CORE: usize = 64 << 20;
/// Bytes of answers that are queued for one connection while there are too many for all together.
pub const QUEUED_BYTES_BESIDE: usize = 16 << 10;
/// Data-In PDUs of one command that are queued at a time; the rest follows when the peer has taken some.
pub const QUEUED_DATA_IN: u32 = 512;
/// Bytes of empty transmit batches that one core keeps for the next burst.
pub const SPARE_BATCH_BYTES: usize = 16 << 20;
/// Bytes that one turn hands to the sockets, unless one send is more: some 0.5 ms of copying.
pub const TURN_SEND_BYTES: usize = 2 << 20;
/// One send moves about this much, then others have their turn: copying it into the socket takes some 100 us. Measured:
/// less costs a third more CPU for 128K reads, more only makes everybody else wait.
pub const SEND_BYTES: usize = 512 << 10;
/// PDUs of one connection that are acted on in one turn as they come; what is beyond takes turns with that of others.
pub const TURN_PDUS: u32 = 256;
/// The same of all connections of a core: eight with windows of commands as wide as they are are not in each other's way.
pub const TURN_PDUS_OF_ALL: u32 = 1024;
/// So many commands a ping is as much as, or any other PDU that is neither a command nor its data: nobody needs many of those at
/// once, and others wait for as many as there are.
pub const PING_COMMANDS: u32 = 8;
/// Time until which PDUs are acted on in one turn as they come, whosever they are, microseconds. What is beyond is copied and
/// waits: four sessions with 32 commands each take some 400.
pub const TURN_US: u64 = 1000;
/// The same if any of them may have taken long, microseconds: nobody needs many of those at once.
pub const SLOW_TURN_US: u64 = TURN_US / 4;
/// While anybody has something parked, what comes has this part of either. A read of somebody else takes two or three turns.
pub const TURN_PARTS_BESIDE: u32 = 16;
/// PDUs of one connection that are acted on before others with as many have their turn.
pub const SHARE_PDUS: u32 = 32;
/// Time of one turn that those connections have together, microseconds.
pub const SHARE_US: u64 = 50;
/// Bytes of parameter data that one session may be asked for again (ErrorRecoveryLevel 1 and 2).
pub const KEPT_PARAMETER_BYTES: usize = 256 << 10;
/// Commands of one session whose data may be asked for again that are remembered before those that are of no use any more are
/// looked for.
pub const SOURCES: usize = 64;
/// Nobody heard of any core for this long: the process was stopped, or the machine. That time does not count for
/// anybody, milliseconds.
pub const PAUSE_MS: u64 = 2_500;
/// After a pause of a core so much time at most goes to what has arrived before clocks are looked at, milliseconds.
pub const CATCH_UP_MS: u64 = 1_000;
/// Time that a clean shutdown gives initiators to log out, milliseconds.
pub const SHUTDOWN_LOGOUT_MS: u64 = 2_000;
/// Entries of a core's submission queue; the completion queue has four times as many.
pub const RING_ENTRIES: u32 = 1024;
/// Receive buffers of a core; a power of two.
pub const RECEIVE_BUFFERS: u16 = 16;
/// Bytes of one receive buffer.
pub const RECEIVE_BUFFER_BYTES: usize = 64 << 10;
/// Bytes that one connection may have received and not yet acted on: while its session waits to move to another core, while
/// there is no room for its answers, and while others have their turn.
pub const PARKED_BYTES: usize = 4 << 20;
/// The same of all connections of one core together, as memory that it takes. When it would be more, the connection that has
/// most is closed, of those of the host that has most.
pub const PARKED_BYTES_PER_CORE: usize = 256 << 20;
/// A session that is to move waits this long for a moment at which the initiator owes it nothing, milliseconds. Nobody
/// waits for that.
pub const MOVE_SEEK_MS: u64 = 200;
/// It receives nothing for this long at most, until its tasks have ended and it moves or goes on, milliseconds.
pub const MOVE_QUIET_MS: u64 = 50;
/// A session that could not be moved is left alone for this long, milliseconds.
pub const MOVE_RETRY_MS: u64 = 5_000;
/// A session that was moved stays for this long, milliseconds.
pub const MOVE_STAY_MS: u64 = 30_000;
/// Microseconds that an active core polls before it sleeps, unless configured.
pub const DEFAULT_SPIN_US: u32 = 50;
/// The largest piece of LUN data that is moved in one buffer and one disk operation, bytes.
pub const SLICE_BYTES: usize = 262_144;
/// Jobs (WRITE SAME, UNMAP, VERIFY, COMPARE AND WRITE, ...) are polled for this long in one turn of a core, and the one that
/// is at it then. A read of somebody else takes two or three turns: with so little it still keeps a third of its pace.
pub const JOBS_PER_TURN: std::time::Duration = std::time::Duration::from_micros(50);
/// Nor are more bytes begun to be moved for them, unless one operation is more: what the kernel has at hand (a hole, what is
/// cached) it copies in the call that asks for it, some 30 us for so many.
pub const JOB_BYTES_PER_TURN: u64 = SLICE_BYTES as u64;
/// What other cores have sent is acted on for this long in one turn of a core, and the message that is at it then.
pub const MESSAGES_PER_TURN: std::time::Duration = std::time::Duration::from_micros(250);
/// Data that a peer owes (the answer to an R2T, the rest of a command), or answers that it does not read, keep I/O buffers no
/// longer than this once others wait for some, milliseconds.
pub const OWED_WHILE_OTHERS_WAIT_MS: u64 = 3_000;
/// Bytes of I/O buffers of one core.
pub const ARENA_BYTES: usize = 64 << 20;
/// MAXIMUM TRANSFER LENGTH of one command, bytes (VPD B0): READ, WRITE, VERIFY with data.
pub const MAX_TRANSFER_BYTES: u64 = 32 << 20;
/// Portals of the process.
pub const PORTALS: usize = 64;
/// Files and devices of logical units that come while the server runs, which each core can still register with its ring.
pub const SPARE_FILES: usize = 256;
/// Targets of the process.
pub const TARGETS: usize = 1024;
/// Logical units of one target.
pub const LUNS_PER_TARGET: usize = 1024;
/// Logical units that each session counts its commands at by themselves: with 112 bytes for one, 7 KiB of a session at most. All others
/// are counted together.
pub const SESSION_UNITS: usize = 64;
/// Initiator groups of one target.
pub const GROUPS_PER_TARGET: usize = 256;
/// The longest name of an initiator group, bytes: as much as a user may have.
pub const MAX_GROUP_NAME_BYTES: usize = 255;
/// Names, and networks, of one initiator group.
pub const PATTERNS_PER_GROUP: usize = 1024;
/// Accounts for CHAP.
pub const ACCOUNTS: usize = 4096;
/// The longest secret for CHAP, bytes.
pub const MAX_SECRET_BYTES: usize = 255;
/// The longest time that a command may be configured to take before it is said to be slow, microseconds: an hour.
pub const MAX_SLOW_LOG_US: u64 = 3_600_000_000;
/// Slow commands of one turn of a core that are looked at: more of them are hardly slow for a reason of their own.
pub const SLOW_PER_TURN: usize = 32;
/// The largest size of a logical unit, bytes: what a signed file offset reaches, in whole 16 MiB.
pub const MAX_LUN_BYTES: u64 = i64::MAX as u64 & !((16 << 20) - 1);
/// The longest TargetAlias, bytes (RFC 7143 section 6.1: a text value has at most 255 bytes).
pub const MAX_ALIAS_BYTES: usize = 255;
/// The longest unit serial number, bytes: what fits a designator beside vendor and product, and a UUID.
pub const MAX_SERIAL_BYTES: usize = 64;
/// The TCP window that a connection is given at most: what its peer may send before we have received what it sent before.
/// Enough for 80 Gb/s at a round trip of 0.1 ms; more would only wait in the kernel, outside of the caches. Measured: 4 x 32
/// writes of 128 KiB cost a tenth more CPU with windows of 32 MiB.
pub const RECEIVE_WINDOW_BYTES: libc::c_int = 1 << 20;
/// The TCP congestion control of connections, unless configured. Others are made for the internet: BBR, the default of some
/// systems, paces what it sends by timers, and probes the path by sending next to nothing for 200 ms. Measured over loopback:
/// with it 128 KiB reads with digests cost half as much CPU again.
pub const DEFAULT_CONGESTION: &str = "cubic";
/// The longest name of a TCP congestion control, bytes (the kernel's TCP_CA_NAME_MAX less one).
pub const MAX_CONGESTION_BYTES: usize = 15;
/// The longest time that an active core polls before it sleeps, microseconds.
pub const MAX_SPIN_US: u32 = 1_000_000;
/// Lines of the log of the whole process each second: warnings and worse, and as many again of what happens.
pub const LINES_PER_SECOND: u32 = 400;
/// Finer ones, which somebody asks for who looks for something.
pub const FINE_LINES_PER_SECOND: u32 = 4000;
/// Bytes of lines that wait to be written to stdout, and to stderr. A line that is longer waits alone.
pub const LOG_QUEUE_BYTES: usize = 1 << 20;
/// Lines that do.
pub const LOG_QUEUE_LINES: usize = 4096;
/// Bytes of text in one line of the log, in all its fields: less than a datagram has room for. What is longer is cut.
pub const LOG_LINE_BYTES: usize = 64 << 10;
/// Events that are kept for who asks.
pub const EVENTS: usize = 1_000;
/// Bytes that they take.
pub const EVENT_BYTES: usize = 1 << 20;
/// Bytes of one text in an event. What is longer is cut: the log has all of it.
pub const EVENT_TEXT_BYTES: usize = 4096;
/// Events that a reader is given at a time, with the lock that those who have something to say need.
pub const EVENTS_AT_A_TIME: usize = 64;
/// Readers of events at a time.
pub const EVENT_READERS: usize = 16;
/// How often a reader who has had all of them is told what is new.
pub const EVENT_LOOK: std::time::Duration = std::time::Duration::from_millis(100);
/// The longest filter of the log that can be set while the server runs, bytes.
pub const LOG_FILTER_BYTES: usize = 1024;
/// How long the end of the process waits for what it has said to be written.
pub const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(1);
/// The longest configuration file, bytes.
pub const MAX_CONFIG_BYTES: u64 = 4 << 20;
/// Events that a core remembers, to be told if it panics: a power of two.
pub const RECORDED_EVENTS: usize = 64;
/// How long the end of the process waits for a control thread that is busy.
pub const CONTROL_END: std::time::Duration = std::time::Duration::from_secs(2);
/// Connections to the control interface at a time; others wait to be accepted.
pub const CONTROL_CONNECTIONS: usize = 64;
/// How long one of them may take to say what it wants.
pub const CONTROL_HEADERS: std::time::Duration = std::time::Duration::from_secs(10);
/// How long one of them may last.
pub const CONTROL_CONNECTION: std::time::Duration = std::time::Duration::from_secs(300);
/// Connections to it over TCP at a time: they take no place of the unix socket. Beyond, the oldest that has not shown a token makes room.
pub const CONTROL_REMOTE: usize = 64;
/// Those of one host.
pub const CONTROL_REMOTE_PER_HOST: usize = 16;
/// Those that have not shown a token yet: most are gone in a moment, or have nothing to show.
pub const CONTROL_REMOTE_UNPROVED: usize = 32;
/// How long the TLS handshake of one of them may take.
pub const CONTROL_HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(5);
/// Wrong tokens of one host before it is not listened to for a while.
pub const WRONG_TOKENS: u32 = 10;
/// How long until one more may come.
pub const WRONG_TOKEN_EACH: std::time::Duration = std::time::Duration::from_secs(6);
/// How long the answer to a wrong token takes; twice as long with each further one.
pub const WRONG_TOKEN_DELAY: std::time::Duration = std::time::Duration::from_millis(250);
/// The longest that it takes.
pub const WRONG_TOKEN_DELAY_MOST: std::time::Duration = std::time::Duration::from_secs(4);
/// Hosts whose wrong tokens are remembered; of more, the one that has the fewest to pay for is forgotten.
pub const WRONG_TOKEN_HOSTS: usize = 1024;
/// The port of the control interface, where a client names none.
pub const DEFAULT_CONTROL_PORT: u16 = 3261;
/// Addresses that the control interface listens on.
pub const CONTROL_LISTEN: usize = 16;
/// Tokens for it.
pub const CONTROL_TOKENS: usize = 256;
/// Bytes of their file.
pub const CONTROL_TOKENS_BYTES: u64 = 256 << 10;
/// Characters of a token: fewer could be guessed.
pub const TOKEN_LEAST: usize = 16;
/// The most that one may have.
pub const TOKEN_MOST: usize = 256;
/// Bytes of the name of a token.
pub const TOKEN_NAME_BYTES: usize = 64;
/// Bytes of a file with certificates or a key.
pub const CERTIFICATE_BYTES: u64 = 256 << 10;
/// Bytes of a request to the control interface.
pub const CONTROL_BODY_BYTES: usize = 1 << 20;
/// How long after the control interface has begun to ask the cores what they do it asks them that again, at the earliest.
pub const ROUND_SPACING: std::time::Duration = std::time::Duration::from_millis(10);
/// How long the control interface waits for a core that it has asked.
pub const CORE_ANSWER: std::time::Duration = std::time::Duration::from_secs(2);
/// Traces at a time.
pub const TRACES: usize = 4;
const _: () = assert!(TRACES <= u8::BITS as usize);
/// Bytes of the PDUs that a core notes for one of them until it is asked for them; it is asked sooner when there is much.
pub const TRACE_BUFFER_BYTES: usize = 1 << 20;
/// Bytes of the buffers of all cores for one of them, of which each core has two: one that is filled, and one on its way.
pub const TRACE_BYTES: usize = 32 << 20;
/// Bytes of the data of a PDU that are noted: a whole text of a login, and a usual read or write.
pub const TRACE_DATA_BYTES: usize = 8 << 10;
const _: () = assert!(TRACE_DATA_BYTES >= MAX_CONTROL_DATA_BYTES && TRACE_DATA_BYTES < TRACE_BUFFER_BYTES / 16);
/// How long a core notes for a trace that nobody asks it about, milliseconds.
pub const TRACE_UNASKED_MS: u64 = 5_000;
/// How long a trace goes on that nobody reads.
pub const TRACE_UNREAD: std::time::Duration = std::time::Duration::from_secs(60);
/// Connections that a trace knows the sequence numbers of; those that were heard of longest ago begin anew.
pub const TRACE_CONNECTIONS: usize = 4096;
/// Tasks of one LUN that a trace knows, to find their responses.
pub const TRACE_TASKS: usize = 1 << 16;
/// How long it waits for a configuration that is read again.
pub const RELOAD_ANSWER: std::time::Duration = std::time::Duration::from_secs(120);
/// How long it waits for what is being saved.
pub const KEEPER_END: std::time::Duration = std::time::Duration::from_secs(2);
/// Unit attentions that one I_T_L nexus queues; when full the queue collapses to 29/00.
pub const UNIT_ATTENTIONS: usize = 8;
/// Parameter lists (UNMAP, MODE SELECT, PERSISTENT RESERVE OUT, ...) are at most this long, bytes.
pub const MAX_PARAMETER_BYTES: usize = 65_536;
/// Commands of one session that are on their way to be saved at one logical unit (PERSISTENT RESERVE OUT, MODE SELECT, ...):
/// one more is answered BUSY. They are saved one after the other, and each takes as long as a file system takes to store
/// something: who preempts somebody waits for all that came before, and that is to be little.
pub const SAVES_PER_SESSION: usize = 8;
/// Those of all sessions from one address.
pub const SAVES_PER_ADDRESS: usize = 32;
/// Those from one host, which may have a whole /64 of IPv6.
pub const SAVES_PER_HOST: usize = 64;
/// What the commands take that one core has on their way, at all logical units: mostly their parameter lists.
pub const SAVING_BYTES_PER_CORE: usize = 4 << 20;
/// Ranges that a unit remembers to have been changed by one command alone, for reads that go on in parts meanwhile.
pub const FENCE_LOG: usize = 4096;
/// MAXIMUM UNMAP LBA COUNT: blocks that one UNMAP may name, over all its descriptors.
pub const MAX_UNMAP_BLOCKS: u32 = 1 << 20;
/// MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT.
pub const UNMAP_DESCRIPTORS: usize = 256;
/// MAXIMUM WRITE SAME LENGTH, bytes.
pub const MAX_WRITE_SAME_BYTES: u64 = 1 << 30;
/// MAXIMUM COMPARE AND WRITE LENGTH, blocks; less when both halves would not fit one slice.
pub const COMPARE_AND_WRITE_BLOCKS: u8 = 255;
/// The longest binary identifying information (SPC-4 clause 6.43), bytes.
pub const IDENTIFYING_INFORMATION_BYTES: usize = 512;
/// The longest text identifying information, bytes.
pub const IDENTIFYING_TEXT_BYTES: usize = 256;
/// The longest file with the saved state of a logical unit, bytes: more than [`REGISTRATIONS`] come to whose names are as long
/// as they may be, and of characters that are written as two.
pub const MAX_STATE_BYTES: u64 = 2 << 20;
/// Files with the saved state of logical units in one directory.
pub const STATE_FILES: usize = 1 << 20;
/// I_T nexuses registered for persistent reservations with one logical unit.
pub const REGISTRATIONS: usize = 1024;
/// Those that one initiator, by its name, has asked for: some ISIDs at some portal groups.
pub const REGISTRATIONS_PER_INITIATOR: usize = 128;
/// Those that belong to one user or initiator group, by whatever names its initiators go.
pub const REGISTRATIONS_PER_PROOF: usize = REGISTRATIONS / 4 * 3;
/// Those that one address has asked for since the process started.
pub const REGISTRATIONS_PER_ADDRESS: usize = REGISTRATIONS / 2;
/// Those that one host, which in IPv6 may be all of a network, has asked for. Of those from before a restart nobody knows
/// where they came from: they count against each host, which still has a quarter of the places that are left.
pub const REGISTRATIONS_PER_HOST: usize = REGISTRATIONS / 4 * 3;
/// Initiator ports that are gone and of which a unit remembers what failures they were told of.
pub const ABSENT_HEARERS: usize = 256;
/// Initiator ports that are saved with a unit whose writes may be lost; who is left out where there are more has yet to hear of it.
pub const LOST_PORTS: usize = ABSENT_HEARERS;
/// Who may have lost writes and is not known is told when it comes within that time after another host has heard, and went on.
/// Who is away for longer has hardly kept what it wrote last, and who is new is not to be told for ever.
pub const OTHERS_HEAR_MS: u64 = 24 * 3_600_000;
/// Of those who wait for I/O buffers, so many jobs and so many commands are asked in a turn.
pub const FED_PER_TURN: usize = 512;
/// Task management functions, and PREEMPT AND ABORT, of one host that a core has asked others to carry out, and they have not.
/// Beyond that, they are rejected, or TASK SET FULL: what waits there comes before what others wait for.
pub const ABORTS_ELSEWHERE: usize = 256;
/// Those of one address, where a host may have many.
pub const ABORTS_ELSEWHERE_OF_ADDRESS: usize = ABORTS_ELSEWHERE / 4 * 3;
/// Those of one session: more than have sense one after the other.
pub const ABORTS_ELSEWHERE_OF_SESSION: usize = 16;
/// Of those who wait for a flush, so many are told of its end in one turn of a core: each costs some microseconds.
pub const FLUSHED_PER_TURN: u32 = 256;
/// A flush that the medium has answered waits this long for the durable writes beside it, milliseconds.
pub const SYNC_DRAIN_MS: u64 = 5_000;
/// The echo buffer (WRITE BUFFER, READ BUFFER) of one logical unit, bytes.
pub const ECHO_BUFFER_BYTES: usize = 4096;
/// How often media are looked at beside the cores: what room they have, and whether files are whole.
pub const SPACE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(2);
/// So many of those looks in a row find nothing of a core that does not go on: some 6 s.
pub const SILENT_LOOKS: u32 = 3;
/// OPTIMAL TRANSFER LENGTH, bytes.
pub const OPTIMAL_TRANSFER_BYTES: u32 = 1 << 20;
/// The most that OPTIMAL UNMAP GRANULARITY is reported as, bytes: VMFS reclaims nothing if it is more.
pub const MAX_UNMAP_GRANULARITY_BYTES: u32 = 1 << 20;
/// Copy operations (EXTENDED COPY, POPULATE TOKEN, WRITE USING TOKEN) of one logical unit: under way, or over and held for
/// RECEIVE COPY STATUS. One I_T nexus has half of them under way if nobody else has any.
pub const COPY_OPERATIONS: usize = 64;
/// MAXIMUM CSCD DESCRIPTOR COUNT of EXTENDED COPY.
pub const COPY_CSCD_DESCRIPTORS: usize = 16;
/// MAXIMUM SEGMENT DESCRIPTOR COUNT of EXTENDED COPY.
pub const COPY_SEGMENT_DESCRIPTORS: usize = 64;
/// MAXIMUM RANGE DESCRIPTORS of POPULATE TOKEN and WRITE USING TOKEN.
pub const ROD_RANGES: usize = 128;
/// Bytes that one ROD token may stand for (MAXIMUM TOKEN TRANSFER SIZE): the copy of one is a matter of seconds.
pub const MAX_ROD_BYTES: u64 = 256 << 20;
/// OPTIMAL TRANSFER COUNT of the token commands, bytes.
pub const OPTIMAL_ROD_BYTES: u64 = 64 << 20;
/// ROD tokens of one logical unit.
pub const ROD_TOKENS: usize = 128;
/// MAXIMUM INACTIVITY TIMEOUT of a ROD token, seconds.
pub const ROD_MAX_TIMEOUT_S: u32 = 600;
/// DEFAULT INACTIVITY TIMEOUT of a ROD token, seconds.
pub const ROD_DEFAULT_TIMEOUT_S: u32 = 60;

const _: () = assert!(TARGET_MAX_RECV_BYTES as usize <= SLICE_BYTES);
const _: () = assert!(FIRST_BURST_BYTES as usize <= SLICE_BYTES);
const _: () = assert!(FIRST_BURST_BYTES <= MAX_BURST_BYTES);
const _: () = assert!(MAX_BURST_BYTES < 1 << 24);
const _: () = assert!(TASKS_PER_SESSION < 0xffff);
const _: () = assert!(PARKED_BYTES > 2 * RECEIVE_BUFFERS as usize * RECEIVE_BUFFER_BYTES);
const _: () = assert!(2 * PARKED_BYTES < PARKED_BYTES_PER_CORE);
const _: () = assert!(SEND_BYTES <= TURN_SEND_BYTES);
const _: () = assert!(QUEUED_BYTES_BESIDE < QUEUED_BYTES && QUEUED_BYTES < QUEUED_BYTES_PER_CORE);
const _: () = assert!(KEPT_RESPONSE_BYTES_BESIDE < KEPT_RESPONSE_BYTES && KEPT_RESPONSE_BYTES < KEPT_BYTES_PER_CORE);
const _: () = assert!(MAX_TEXT_ANSWER_BYTES < NEGOTIATION_BYTES_PER_CORE);
const _: () = assert!(ARENA_BYTES.is_multiple_of(SLICE_BYTES));
const _: () = assert!(UNMAP_DESCRIPTORS * 16 + 8 <= MAX_PARAMETER_BYTES);
const _: () = assert!(MAX_PARAMETER_BYTES * KEPT_PARTS_OF_A_HOST <= SAVING_BYTES_PER_CORE);
const _: () = assert!(2 * 4096 <= SLICE_BYTES);
const _: () = assert!(OPTIMAL_TRANSFER_BYTES as u64 <= MAX_TRANSFER_BYTES);
const _: () = assert!(536 + ROD_RANGES * 16 <= MAX_PARAMETER_BYTES);
const _: () = assert!(16 + COPY_CSCD_DESCRIPTORS * 32 + COPY_SEGMENT_DESCRIPTORS * 28 <= MAX_PARAMETER_BYTES);
const _: () = assert!(OPTIMAL_ROD_BYTES <= MAX_ROD_BYTES);
const _: () = assert!(COPY_OPERATIONS <= u8::MAX as usize);
const _: () = assert!(CONNECTIONS_PER_ADDRESS + CONNECTIONS_FOR_OTHERS <= CONNECTIONS_PER_CORE);
const _: () = assert!(FAILED_LOGIN_MOST_MS < LOGIN_TIMEOUT_MS);
const _: () = assert!(LOG_LINE_BYTES < LOG_QUEUE_BYTES && EVENT_TEXT_BYTES < EVENT_BYTES);
const _: () = assert!(EVENT_READERS < CONTROL_CONNECTIONS);
const _: () = assert!(CONTROL_REMOTE_PER_HOST < CONTROL_REMOTE_UNPROVED && CONTROL_REMOTE_UNPROVED < CONTROL_REMOTE);
