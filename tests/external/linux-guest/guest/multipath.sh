# dm-multipath over two portal groups: persistent reservations of a host with two paths, as mpathpersist and multipathd make
# them, and of a second host, which fences it.
# toml: [[portal]]
# toml: listen = "127.0.0.1:{PORT}"
# toml: advertise = "{HOST}:{PORT}"
# toml: group = 1
# toml: [[portal]]
# toml: listen = "127.0.0.1:{PORT_2}"
# toml: advertise = "{HOST}:{PORT_2}"
# toml: group = 2
# toml: [[target]]
# toml: name = "{TARGET}"
# toml: [[target.lun]]
# toml: number = 0
# toml: path = "lun.img"
# toml: size = "64MiB"
# seconds: 240
. ./lib.sh
GUEST=iqn.2026-11.io.ringsan:guest FENCER=iqn.2026-11.io.ringsan:fencer
DISK=/dev/mapper/mpatha

# eventually COMMAND...: until it succeeds, for 15 seconds and more.
eventually() {
    _n=0
    until "$@"; do
        sleep 0.1
        _n=$((_n + 1))
        [ $_n -lt 150 ] || return 1
    done
}
# find_path GROUP INITIATOR: sets DEV to the disk that this initiator has over that portal group.
find_path() {
    for _session in /sys/class/iscsi_session/session*; do
        [ "$(cat "$_session/tpgt") $(cat "$_session/initiatorname")" = "$1 $2" ] || continue
        for _block in "$_session"/device/target*/*:*:*:"$LUN"/block/*; do
            DEV=/dev/${_block##*/}
            [ ! -b "$DEV" ] || return 0
        done
    done
    return 1
}
# has_paths COUNT: so many paths of the multipath disk are active.
has_paths() { [ "$(dmsetup status mpatha 2>/dev/null | grep -oE '[0-9]+:[0-9]+ A' | wc -l)" = "$1" ]; }
# What the second host reads, when it has heard of what others did (a unit attention).
asks() {
    sg_turs "$FENCE" >/dev/null 2>&1
    sg_persist --in "$@" "$FENCE"
}
keys() { asks --read-keys | grep -oE '^ +0x[0-9a-f]+$' | xargs; }
has_keys() { [ "$(keys)" = "$1" ]; }
held() { asks --read-reservation | sed -n 's/.*Key=//p; s/.*,  *type: //p' | xargs; }
# written DISK: write requests so far.
written() { awk '{ print $5 }' "/sys/block/${1#/dev/}/stat"; }
# writes DISK [COUNT]: so many requests.
writes() { dd if=/dev/urandom of="$1" bs=4k count="${2:-1}" oflag=direct; }
out() { mpathpersist --out "$@" $DISK; }
fences() { sg_persist --out "$@" "$FENCE"; }

# The guest's kernel complains of its own work queues when a path goes (alua).
allowed_in_log='WARNING: .*check_flush_dependency'
start_initiator
/usr/lib/systemd/systemd-udevd --daemon
modprobe dm_multipath
need "SendTargets discovery" iscsiadm -m discovery -t st -p "$PORTAL"
same "discovery names both portal groups" "$PORTAL,1 $TARGET $PORTAL_2,2 $TARGET" "$(sort -t, -k2 /tmp/said | xargs)"

# The second host comes first: multipathd is told to leave its disk alone.
check "a second host" iscsiadm -m iface -I fencer -o new
check "of another name" iscsiadm -m iface -I fencer -o update -n iface.initiatorname -v $FENCER
check "knows the second portal" iscsiadm -m node -T "$TARGET" -p "$PORTAL_2" -I fencer -o new
need "it logs in" iscsiadm -m node -T "$TARGET" -I fencer --login
need "its disk appears" eventually find_path 2 $FENCER
FENCE=$DEV
mkdir -p /etc/multipath
cat >/etc/multipath.conf <<END
defaults {
    user_friendly_names yes
    find_multipaths no
    path_grouping_policy multibus
    path_selector "round-robin 0"
    rr_min_io_rq 1
    polling_interval 1
    reservation_key 0xa
}
blacklist {
    devnode "^${FENCE#/dev/}$"
}
END
need "multipathd" multipathd
need "login over both portal groups" iscsiadm -m node -T "$TARGET" -I default --login
need "a disk over the first" eventually find_path 1 $GUEST
first=$DEV
need "a disk over the second" eventually find_path 2 $GUEST
second=$DEV
need "they are two paths of one" eventually has_paths 2

# What one host does.
need "mpathpersist registers" out --register-ignore --param-sark=0xa
same "both paths" "0xa 0xa" "$(keys)"
check "READ FULL STATUS" mpathpersist --in --read-full-status $DISK
same "each with the relative port of its portal group" "0x1 0x2" "$(awk '/Relative port address/ { print $4 }' /tmp/said | sort | xargs)"
check "it reserves for both" out --reserve --param-rk=0xa --prout-type=5
same "READ RESERVATION" "0xa Write Exclusive, registrants only" "$(held)"
before=$(written "$first") before_2=$(written "$second")
check "it writes" writes $DISK 16
check "over both" test "$(written "$first")" -gt "$before" -a "$(written "$second")" -gt "$before_2"
refused "nobody else does" writes "$FENCE"
refused "nor releases the reservation" fences --release --param-rk=0xa --prout-type=5

check "one path goes" iscsiadm -m node -T "$TARGET" -p "$PORTAL_2" -I default --logout
check "multipathd takes it out" eventually has_paths 1
check "it writes over the other" writes $DISK 4
check "the path comes again" iscsiadm -m node -T "$TARGET" -p "$PORTAL_2" -I default --login
check "its disk appears" eventually find_path 2 $GUEST
second=$DEV
# This initiator takes another ISID for each login: it is a new nexus, and what is registered for the old one stays.
check "multipathd registers it" eventually has_keys "0xa 0xa 0xa"
check "and uses it" eventually has_paths 2
check "it may write" writes "$second"

# A host that is fenced, and fences back.
check "the second host registers" fences --register --param-sark=0xb
check "and preempts" fences --preempt --param-rk=0xb --param-sark=0xa --prout-type=5
same "nobody else is registered" "0xb" "$(keys)"
same "the reservation is its own" "0xb Write Exclusive, registrants only" "$(held)"
check "it writes" writes "$FENCE"
refused "the first host is fenced" writes $DISK
refused "on one path" writes "$first"
refused "and on the other" writes "$second"
check "it registers again" out --register-ignore --param-sark=0xa
check "mpathpersist preempts and aborts" out --preempt-abort --param-rk=0xa --param-sark=0xb --prout-type=5
same "its paths are registered again" "0xa 0xa" "$(keys)"
check "it writes on both" writes $DISK 16
refused "the second host is fenced" writes "$FENCE"
check "mpathpersist releases" out --release --param-rk=0xa --prout-type=5
same "nobody holds it" "" "$(held)"
check "then others write" writes "$FENCE"
check "mpathpersist clears" out --clear --param-rk=0xa
same "nobody is registered" "" "$(keys)"
finish
