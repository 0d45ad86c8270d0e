# Verified writes and reads while the guest's network loses, reorders, doubles and delays packets, and while connections
# are cut: the initiator logs in again by itself, no I/O fails, the data is right.
# lun: path=lun.img,size=256MiB,thin
# seconds: 600
. ./lib.sh
start_initiator node.session.timeo.replacement_timeout=120 'node.conn[0].timeo.noop_out_interval=5' \
    'node.conn[0].timeo.noop_out_timeout=10'
# Connections that are cut on purpose are told of; I/O errors are not allowed.
allowed_in_log='detected conn error'
modprobe sch_netem
modprobe tcp_diag

# verified SECONDS NAME
verified() {
    check "$2" fio --name=verify --filename="$DEV" --direct=1 --ioengine=libaio --iodepth=16 --rw=randrw \
        --bsrange=4k-256k --blockalign=4k --verify=crc32c --verify_backlog=32 --verify_fatal=1 --size=48m \
        --time_based --runtime="$1"
}
netem() { tc qdisc replace dev eth0 root netem "$@"; }
# cut: ends the session's TCP connection under it, as a middlebox that forgot it would.
cut() { ss -K dst "${PORTAL%:*}" dport = "${PORTAL#*:}" 2>/dev/null | grep -q ESTAB; }
# dark SECONDS: nothing arrives for that long.
dark() {
    netem loss 100% && sleep "$1" && tc qdisc del dev eth0 root
}

need "login with digests" login CRC32C CRC32C
need "the disk appears" find_disk
verified 5 "verified I/O on a good network"
while read -r rules; do
    # shellcheck disable=SC2086
    need "netem $rules" netem $rules
    verified 12 "verified I/O with $rules"
done <<'RULES'
delay 5ms 3ms
loss 2%
delay 4ms reorder 25% 50%
duplicate 5%
delay 10ms 8ms loss 1% duplicate 1% reorder 10%
RULES
tc qdisc del dev eth0 root
same "no digest error" 0 "$(iscsiadm -m session -s | awk '/digest_err/ { n += $NF } END { print n + 0 }')"

# The session must survive the loss of its connection several times, with I/O under way all the time.
{ verified 45 "verified I/O while the network goes away" >/tmp/verified; } &
load=$!
for seconds in 3 16; do
    sleep 4
    check "the network is gone for $seconds s" dark $seconds
done
if command -v ss >/dev/null; then
    for n in 1 2 3; do
        sleep 4
        check "connection cut, $n" cut
    done
else
    skip "connections cut from inside (no ss in the guest)"
fi
wait $load
cat /tmp/verified
case $(cat /tmp/verified) in PASS*) passed=$((passed + 1)) ;; *) failed=$((failed + 1)) ;; esac
need "the session is logged in" sh -c 'iscsiadm -m session -P 1 | grep -q "LOGGED IN"'
verified 5 "verified I/O afterwards"
check "logout" logout
finish
