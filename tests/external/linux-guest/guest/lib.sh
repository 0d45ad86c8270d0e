# What the guest scripts share. They are run by dash, with PORTAL, TARGET and LUN in the environment (see ../run), and
# begin with ". ./lib.sh" and end with "finish".

passed=0 failed=0 skipped=0
pass() { passed=$((passed + 1)); echo "PASS $*"; }
fail() { failed=$((failed + 1)); echo "FAIL $*"; }
skip() { skipped=$((skipped + 1)); echo "SKIP $*"; }
finish() {
    check_kernel_log
    echo "guest: $passed passed, $failed failed, $skipped skipped"
    [ $failed = 0 ] && [ $passed -gt 0 ]
    exit $?
}

# check NAME COMMAND...: passes if the command succeeds; its output is in /tmp/said, and is shown if it does not.
check() {
    _name=$1
    shift
    "$@" >/tmp/said 2>&1
    _code=$?
    if [ $_code = 0 ]; then pass "$_name"; return 0; fi
    fail "$_name (exit $_code)"
    tail -12 /tmp/said | sed 's/^/    | /'
    return 1
}
# need NAME COMMAND...: a check without which the rest makes no sense.
need() { check "$@" || finish; }
# refused NAME COMMAND...: passes if the command fails.
refused() {
    _name=$1
    shift
    if "$@" >/tmp/said 2>&1; then fail "$_name: it was accepted"; return 1; fi
    pass "$_name"
}
# offered NAME OPCODE[,SERVICE-ACTION] COMMAND...: a check if the target says (REPORT SUPPORTED OPERATION CODES) that it has
# the command, else it is skipped: a target must do what it claims, and need not claim more.
offered() {
    _what=$1 _op=$2
    shift 2
    if sg_opcodes --opcode="$_op" "$DEV" 2>&1 | grep -q 'supported.*conforming'; then
        check "$_what" "$@"
    else
        skip "$_what (not offered)"
    fi
}
# same NAME EXPECTED FOUND
same() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1: expected '$2', found '$3'"; fi; }

# What a script provokes on purpose it may allow, by an extended regular expression.
allowed_in_log='^$'
check_kernel_log() {
    dmesg | grep -E 'I/O error|detected conn error|digest|blk_update_request|Buffer I/O|EXT4-fs error|XFS.*(error|corrupt)|WARNING:|BUG:|hung task' |
        grep -vE "$allowed_in_log" >/tmp/bad-log
    if [ -s /tmp/bad-log ]; then
        fail "no error in the kernel's log"
        head -20 /tmp/bad-log | sed 's/^/    | /'
    else
        pass "no error in the kernel's log"
    fi
}

# start_initiator [SETTING=VALUE...]: starts iscsid, with settings of iscsid.conf changed.
start_initiator() {
    echo "InitiatorName=${INITIATOR:-iqn.2026-11.io.ringsan:guest}" >/etc/iscsi/initiatorname.iscsi
    sed '/^ *#/d; /^iscsid.startup/d; /^node.startup/d' /etc/iscsi/iscsid.conf.debian >/etc/iscsi/iscsid.conf
    for _setting in node.startup=manual "$@"; do echo "${_setting%%=*} = ${_setting#*=}" >>/etc/iscsi/iscsid.conf; done
    iscsid
    _n=0
    while [ $_n -lt 50 ]; do
        iscsiadm -m session >/dev/null 2>&1
        # 21: it answers that there is no session.
        case $? in 0 | 21) return 0 ;; esac
        sleep 0.1
        _n=$((_n + 1))
    done
    fail "iscsid answers"
    finish
}
node() { iscsiadm -m node -T "$TARGET" -p "$PORTAL" "$@"; }
node_set() { node -o update -n "$1" -v "$2"; }
# login [HEADER-DIGEST DATA-DIGEST]
login() {
    node >/dev/null 2>&1 || node -o new >/dev/null || return
    node_set 'node.conn[0].iscsi.HeaderDigest' "${1:-None}" &&
        node_set 'node.conn[0].iscsi.DataDigest' "${2:-None}" &&
        node --login
}
logout() { node --logout; }
# negotiated KEY: what the session agreed on.
negotiated() { iscsiadm -m session -P 2 | awk -v key="$1:" '$1 == key { print $2 }' | tail -1; }

# find_disk [LUN]: waits for the newest session's disk of that LUN; sets DEV (/dev/sdX) and SYS (/sys/block/sdX).
find_disk() {
    _lun=${1:-$LUN} _n=0
    while [ $_n -lt 150 ]; do
        DEV=
        for _path in /sys/class/iscsi_session/session*/device/target*/*:*:*:"$_lun"/block/*; do
            [ -d "$_path" ] && DEV=/dev/${_path##*/}
        done
        if [ -n "$DEV" ] && [ -b "$DEV" ] && [ "$(cat "/sys/block/${DEV#/dev/}/size")" != 0 ]; then
            SYS=/sys/block/${DEV#/dev/}
            return 0
        fi
        sleep 0.1
        _n=$((_n + 1))
    done
    echo "no disk for LUN $_lun"
    iscsiadm -m session -P 3
    return 1
}
# disk_gone DEVICE: waits until it is no longer there.
disk_gone() {
    _n=0
    while [ -b "$1" ]; do
        sleep 0.1
        _n=$((_n + 1))
        [ $_n -lt 150 ] || return 1
    done
}
# zeroes OFFSET-MIB COUNT-MIB: whether that part of the disk reads as zeroes.
zeroes() { [ "$(dd if="$DEV" bs=1M skip="$1" count="$2" iflag=direct 2>/dev/null | tr -d '\0' | wc -c)" = 0 ]; }
# noise OFFSET-MIB COUNT-MIB: random content.
noise() { dd if=/dev/urandom of="$DEV" bs=1M seek="$1" count="$2" oflag=direct 2>/dev/null; }
