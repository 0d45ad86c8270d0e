# CHAP and mutual CHAP with the Linux initiator: each hash that it offers, right and wrong users and passwords.
# file: host.secret the-host-secret-1
# file: disks.secret the-disk-secret-2
# options: --chap host:host.secret --chap-mutual disks:disks.secret
# seconds: 600
. ./lib.sh
start_initiator node.session.initial_login_retry_max=1 'node.conn[0].timeo.login_timeout=10'
# A login that is refused ends its connection (RFC 7143 section 11.13.5).
allowed_in_log='detected conn error \(1020\)'
HOST=the-host-secret-1 DISKS=the-disk-secret-2

# with METHOD [USER PASSWORD [USER-OF-TARGET PASSWORD-OF-TARGET]]: a new record of the target.
with() {
    node -o delete >/dev/null 2>&1
    node -o new >/dev/null && node_set node.session.auth.authmethod "$1" || return
    [ -z "$2" ] || { node_set node.session.auth.username "$2" && node_set node.session.auth.password "$3"; } || return
    [ -z "$4" ] || { node_set node.session.auth.username_in "$4" && node_set node.session.auth.password_in "$5"; }
}
try() { timeout 60 iscsiadm -m node -T "$TARGET" -p "$PORTAL" --login; }
reads() { dd if="$DEV" of=/dev/null bs=64k count=4 iflag=direct; }
# works NAME: the login succeeds, and the disk can be read.
works() {
    check "$1" try || return
    check "$1: the disk appears" find_disk && check "$1: it can be read" reads
    _old=$DEV
    check "$1: logout" logout && check "$1: the disk is gone" disk_gone "$_old"
}
# fails NAME [CODE]: the login fails with iscsiadm's exit code 24: the target refuses it for the authentication; or 19: the
# initiator gives it up.
fails() {
    try >/tmp/said 2>&1
    same "$1" "${2:-24}" $?
    ! [ -e /sys/class/iscsi_session ] || [ -z "$(ls /sys/class/iscsi_session)" ] || { fail "$1: no session is left"; logout; }
}

check "discovery needs no password" iscsiadm -m discovery -t st -p "$PORTAL"
with None
fails "without CHAP"
with CHAP host not-the-secret-3
fails "CHAP, wrong password"
with CHAP nobody "$HOST"
fails "CHAP, unknown user"
with CHAP disks "$DISKS"
fails "CHAP, as the user of the target itself"
with CHAP host "$HOST"
works "CHAP"
with CHAP host "$HOST" disks "$DISKS"
works "mutual CHAP"
with CHAP host "$HOST" disks not-the-secret-4
fails "mutual CHAP, another password expected of the target" 19
with CHAP host not-the-secret-5 disks "$DISKS"
fails "mutual CHAP, wrong password of the initiator"
with CHAP host "$HOST" disks "$HOST"
fails "mutual CHAP, one password for both" 19
for hash in MD5 SHA1 SHA256 SHA3-256; do
    with CHAP host "$HOST" disks "$DISKS"
    if node_set node.session.auth.chap_algs $hash >/dev/null 2>&1; then
        works "mutual CHAP with $hash"
        with CHAP host not-the-secret-6
        node_set node.session.auth.chap_algs $hash
        fails "CHAP with $hash, wrong password"
    else
        skip "CHAP with $hash (this initiator has it not)"
    fi
done
finish
