# The whole device server, as a host's tools and its kernel see it: every page and command, two nodes that fence each
# other, copies, erasing, and queue limits that are what was configured.
# lun: path=thin.img,size=512MiB,thin,block=512,physical-block=4096
# lun: path=thick.img,size=64MiB,block=4096,physical-block=4096
# lun: kind=ram,size=16MiB,readonly
# lun: kind=ram,size=32MiB,thin
# seconds: 500
. ./lib.sh
INITIATOR=iqn.2026-11.io.ringsan:node-a
allowed_in_log='critical nexus error|reservation conflict|protection error|critical target error|Write Protect'
start_initiator
modprobe xfs

THIN=$LUN THICK=$((LUN + 1)) READONLY=$((LUN + 2)) SPARE=$((LUN + 3))
# disk_of SESSION LUN
disk_of() { basename "$(echo /sys/class/iscsi_session/session"$1"/device/target*/*:*:*:"$2"/block/*)"; }
# sg_of DISK: the sg device beside it.
sg_of() { echo /dev/"$(ls "/sys/block/${1#/dev/}/device/scsi_generic")"; }
# has OPCODE[,SERVICE-ACTION]: whether REPORT SUPPORTED OPERATION CODES names it.
has() { sg_opcodes --opcode="$1" "$thin" 2>&1 | grep -q 'supported.*conforming'; }
newest_session() { ls /sys/class/iscsi_session | sed 's/session//' | sort -n | tail -1; }
# fails_with NAME CODE COMMAND...: passes if it exits with that code (sg3-utils' own: 24 is a reservation conflict).
fails_with() {
    _name=$1 _wanted=$2
    shift 2
    "$@" >/tmp/said 2>&1
    same "$_name" "$_wanted" $?
}

need "login of node A" login
for lun in $THICK $READONLY $SPARE; do need "LUN $lun appears" find_disk $lun; done
need "LUN $THIN appears" find_disk $THIN
A=$(newest_session)
thin=/dev/$(disk_of $A $THIN) thick=/dev/$(disk_of $A $THICK) readonly=/dev/$(disk_of $A $READONLY) spare=/dev/$(disk_of $A $SPARE)

# 1. Every page and every command that it says it has.
for kind in thin thick readonly spare; do
    eval "DEV=\$$kind"
    # A write-protected disk cannot be opened for writing, which some tools insist on; its other device can.
    [ $kind != readonly ] || DEV=$(sg_of $readonly)
    check "$kind: INQUIRY" sg_inq $DEV
    for page in $(sg_vpd --raw --page=0 $DEV | od -An -v -tx1 -j4); do
        check "$kind: VPD page 0x$page by sg_vpd" sg_vpd --page=0x$page $DEV
        check "$kind: VPD page 0x$page by sg_inq" sg_inq --page=0x$page $DEV
        if grep -iE 'malformed|truncated|too short|decode page failed' /tmp/said; then fail "$kind: sg_inq likes VPD page 0x$page"; fi
    done
    check "$kind: TEST UNIT READY" sg_turs $DEV
    check "$kind: REQUEST SENSE" sg_requests $DEV
    check "$kind: REPORT LUNS" sg_luns $DEV
    check "$kind: READ CAPACITY(10)" sg_readcap $DEV
    check "$kind: READ CAPACITY(16)" sg_readcap --long $DEV
    check "$kind: MODE SENSE of all pages and subpages" sg_modes --all $DEV
    check "$kind: LOG SENSE of all pages" sg_logs --all $DEV
    check "$kind: REPORT SUPPORTED OPERATION CODES" sg_opcodes $DEV
    check "$kind: with timeouts" sg_opcodes --rctd $DEV
    check "$kind: REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS" sg_opcodes --tmf $DEV
done
same "REPORT LUNS lists four" 4 "$(sg_luns $thin | grep -c '^ *00[0-9a-f]\{14\}$')"

# mask_of OPCODE[,SERVICE-ACTION]: the CDB usage data, in hex.
mask_of() { sg_opcodes --raw --opcode=$1 $thin 2>/dev/null | od -An -v -tx1 | tr -d '\n' | cut -d' ' -f6-; }
wrong=
commands=0
for what in $(sg_opcodes --raw $thin | od -An -v -tx1 -w8 -j4 | awk '{ sa = $3 $4; print ($6 ~ /[13579bdf]$/) ? "0x" $1 ",0x" sa : "0x" $1 }'); do
    commands=$((commands + 1))
    mask=$(mask_of $what)
    opcode=${what#0x}
    [ "${mask%% *}" = "${opcode%%,*}" ] || wrong="$wrong $what"
done
same "the usage data of each command begins with its opcode" "" "$wrong"
if [ $commands -gt 60 ]; then pass "it has $commands commands"; else fail "it has only $commands commands"; fi

check "REPORT TIMESTAMP" sg_timestamp $thin
same "its origin is other means" 3 "$(sg_timestamp -oo --no-timestamp $thin)"
check "SET TIMESTAMP" sg_timestamp --milliseconds=1000000000000 $thin
same "its origin is SET TIMESTAMP" 2 "$(sg_timestamp -oo --no-timestamp $thin)"
same "it goes on from what was set" 1000000 "$(sg_timestamp --srep $thin | cut -c1-7)"
if has 0xa3,5 && has 0xa4,6; then
    check "REPORT IDENTIFYING INFORMATION" sg_ident $thin
    check "SET IDENTIFYING INFORMATION" sh -c "printf ringsan-lun | sg_ident --set $thin"
    same "the identifying information is what was set" ringsan-lun "$(sg_ident --raw $thin | tr -d '\n\0')"
else
    skip "identifying information (not offered)"
fi
check "SEND DIAGNOSTIC, self-test" sg_senddiag --test $thin
check "READ BUFFER of the echo buffer's size" sg_read_buffer --mode=echo_desc --length=4 $thin

# 2. Two nodes, of which one fences the other.
iscsiadm -m iface -I node-b -o new >/dev/null
iscsiadm -m iface -I node-b -o update -n iface.initiatorname -v iqn.2026-11.io.ringsan:node-b >/dev/null
iscsiadm -m iface -I node-b -o update -n iface.transport_name -v tcp >/dev/null
node -I node-b -o new >/dev/null
need "login of node B" node -I node-b --login
find_disk $SPARE && find_disk $THIN
B=$(newest_session)
a=$thin b=/dev/$(disk_of $B $THIN) spare_b=/dev/$(disk_of $B $SPARE)
write_to() { dd if=/dev/zero of=$1 bs=4096 count=1 seek=$2 oflag=direct 2>/dev/null; }
check "both nodes write before" sh -c "dd if=/dev/zero of=$a bs=4096 count=1 oflag=direct && dd if=/dev/zero of=$b bs=4096 count=1 oflag=direct"
same "the two nodes see the same unit" "$(/usr/lib/udev/scsi_id -g -u $a)" "$(/usr/lib/udev/scsi_id -g -u $b)"
check "node A registers" sg_persist --out --register --param-sark=0xa $a
check "node A reserves, write exclusive for registrants" sg_persist --out --reserve --param-rk=0xa --prout-type=5 $a
fails_with "node B, not registered, may not write" 24 sg_write_same --16 --lba=0 --num=8 --xferlen=512 -i /dev/zero $b
check "node B may read" dd if=$b of=/dev/null bs=4096 count=1 iflag=direct
check "node B registers" sg_persist --out --register --param-sark=0xb $b
check "node B may write now" sg_write_same --16 --lba=0 --num=8 --xferlen=512 -i /dev/zero $b
same "READ KEYS lists both" 2 "$(sg_persist --in --read-keys $b | grep -cE '^ *0x(a|b)$')"
check "READ RESERVATION" sg_persist --in --read-reservation $b
same "node A holds it" 0xa "$(sed -n 's/.*Key=\(0x[0-9a-f]*\).*/\1/p' /tmp/said)"
check "READ FULL STATUS" sg_persist --in --read-full-status $b
same "READ FULL STATUS names both nodes" 2 "$(grep -c 'iqn.2026-11.io.ringsan:node-[ab]' /tmp/said)"
check "REPORT CAPABILITIES" sg_persist --in --report-capabilities $b
fails_with "node B cannot release what node A holds, but it is no error" 0 sg_persist --out --release --param-rk=0xb --prout-type=5 $b
fails_with "preempting with a wrong key is a conflict" 24 sg_persist --out --preempt-abort --param-rk=0xbad --param-sark=0xa --prout-type=5 $b
# Node A is busy when it is fenced: its writes are aborted or done, and then refused.
(while write_to $a 512; do :; done; echo ended >/tmp/loser) &
sleep 0.5
check "node B preempts node A and aborts its tasks" sg_persist --out --preempt-abort --param-rk=0xb --param-sark=0xa --prout-type=5 $b
_n=0
until [ -s /tmp/loser ] || [ $_n = 100 ]; do sleep 0.1; _n=$((_n + 1)); done
same "the writes of node A fail from then on" ended "$(cat /tmp/loser 2>/dev/null)"
sg_turs $a >/dev/null 2>&1
fails_with "node A gets a reservation conflict" 24 sg_write_same --16 --lba=0 --num=8 --xferlen=512 -i /dev/zero $a
refused "and its kernel an error" write_to $a 512
check "node A may read" dd if=$a of=/dev/null bs=4096 count=1 iflag=direct
check "node B writes" write_to $b 512
same "only node B is registered" 0xb "$(sg_persist --in --read-keys $b | sed -n 's/^ *\(0x[0-9a-f]*\)$/\1/p')"
check "READ RESERVATION again" sg_persist --in --read-reservation $b
same "node B holds it" 0xb "$(sed -n 's/.*Key=\(0x[0-9a-f]*\).*/\1/p' /tmp/said)"
fails_with "node A cannot register with the key that it had" 24 sg_persist --out --register --param-rk=0xa --param-sark=0xc $a
check "node A registers anew" sg_persist --out --register --param-sark=0xc $a
check "node A may write again" write_to $a 512
check "node B clears" sg_persist --out --clear --param-rk=0xb $b
sg_turs $a >/dev/null 2>&1
same "nothing is left" 0 "$(sg_persist --in --read-keys $a | grep -cE '^ *0x')"

# 3. COMPARE AND WRITE, copies, provisioning.
DEV=$thin
dd if=/dev/urandom of=/tmp/new bs=512 count=2 2>/dev/null
{ dd if=/dev/zero bs=512 count=2; cat /tmp/new; } >/tmp/compare 2>/dev/null
dd if=/dev/zero of=$thin bs=1M count=1 oflag=direct 2>/dev/null
check "COMPARE AND WRITE of two blocks that match" sg_compare_and_write --lba=6 --num=2 --xferlen=2048 --in=/tmp/compare $thin
same "the new blocks are there" "$(md5sum </tmp/new)" "$(dd if=$thin bs=512 skip=6 count=2 iflag=direct 2>/dev/null | md5sum)"
fails_with "once more it miscompares" 14 sg_compare_and_write --lba=6 --num=2 --xferlen=2048 --in=/tmp/compare $thin
noise 0 8
check "EXTENDED COPY of 8 MiB between LUNs" sg_xcopy if=$(sg_of $thin) of=$(sg_of $spare) bs=512 count=16384 skip=0 seek=2048
same "the copy is the same" "$(dd if=$thin bs=1M count=8 iflag=direct 2>/dev/null | md5sum)" \
    "$(dd if=$spare bs=1M skip=1 count=8 iflag=direct 2>/dev/null | md5sum)"
check "RECEIVE COPY RESULTS, operating parameters" sg_copy_results --params $thin
check "UNMAP of 64 blocks" sg_unmap --lba=64 --num=64 $thin
check "they read as zeroes" sh -c "[ \$(dd if=$thin bs=512 skip=64 count=64 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c) = 0 ]"
# lba_status LBA [OPTIONS]: the first descriptor in words.
lba_status() { sg_get_lba_status $2 --lba=$1 $thin >/tmp/said 2>&1; grep -i 'LBA: ' /tmp/said | head -1 | tr -s ' \t' ' '; }
case $(lba_status 64) in
*0x*40\ blocks:\ 64\ *deallocated*) pass "GET LBA STATUS of the blocks that were unmapped" ;;
*) fail "GET LBA STATUS of the blocks that were unmapped: $(cat /tmp/said)" ;;
esac
case $(lba_status 0) in
*blocks:\ 64\ mapped*) pass "GET LBA STATUS of written blocks" ;;
*) fail "GET LBA STATUS of written blocks: $(cat /tmp/said)" ;;
esac
# Commands of 32 bytes: the kernel puts their second half into an additional header segment.
case $(lba_status 64 --32) in
*0x*40\ blocks:\ 64\ *deallocated*) pass "GET LBA STATUS(32)" ;;
*) fail "GET LBA STATUS(32): $(cat /tmp/said)" ;;
esac
case $(lba_status 64 "--32 --scan-len=16") in
*0x*40\ blocks:\ 16\ *deallocated*) pass "GET LBA STATUS(32) with a scan length" ;;
*) fail "GET LBA STATUS(32) with a scan length: $(cat /tmp/said)" ;;
esac
# or_write_32 GENERATION FILE [OPTIONS]: of one block.
or_write_32() { sg_write_x --or --32 --lba=9 --num=1 --generation=$1 --in=$2 $3 $spare; }
block_9() { dd if=$spare bs=512 skip=9 count=1 iflag=direct 2>/dev/null | md5sum; }
dd if=/dev/zero of=/tmp/zero bs=512 count=1 2>/dev/null
dd if=/tmp/zero of=$spare bs=512 seek=9 count=1 oflag=direct 2>/dev/null
check "ORWRITE(32)" or_write_32 0,0 /tmp/new
same "the bits are set" "$(dd if=/tmp/new bs=512 count=1 2>/dev/null | md5sum)" "$(block_9)"
check "ORWRITE(32) that changes the generation and clears bits" or_write_32 0,1 /tmp/zero --bmop=1,7
same "they are cleared" "$(md5sum </tmp/zero)" "$(block_9)"
fails_with "the old generation sets no bits any more" 5 or_write_32 0,0 /tmp/new
same "none is set" "$(md5sum </tmp/zero)" "$(block_9)"
check "back to the first generation" or_write_32 1,0 /tmp/zero --bmop=1,7
check "WRITE SAME(16) with UNMAP and NDOB" sg_write_same --unmap --ndob --16 --lba=256 --num=2048 $thin
check "it reads as zeroes" sh -c "[ \$(dd if=$thin bs=512 skip=256 count=2048 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c) = 0 ]"
check "WRITE SAME(10)" sg_write_same --10 --lba=256 --num=64 --xferlen=512 -i /tmp/new $thin
same "each block is the one sent" "$(n=0; while [ $n -lt 64 ]; do dd if=/tmp/new bs=512 count=1 2>/dev/null; n=$((n + 1)); done | md5sum)" \
    "$(dd if=$thin bs=512 skip=256 count=64 iflag=direct 2>/dev/null | md5sum)"
refused "UNMAP is refused by the thick LUN" sg_unmap --lba=0 --num=1 $thick
check "VERIFY(10)" sg_verify --lba=0 --count=64 $thin
check "VERIFY(16)" sg_verify --16 --lba=0 --count=64 $thin
check "SYNCHRONIZE CACHE(16)" sg_sync --16 $thin
check "the read-only LUN says write-protected" sh -c "sg_modes --dbd --page=0x3f $readonly | grep -q 'WP=1'"
fails_with "a write to it is refused with DATA PROTECT" 7 sg_write_same --10 --lba=0 --num=1 --xferlen=512 -i /dev/zero $(sg_of $readonly)
check "software write protect is set" sg_wr_mode --page=0xa --contents=0a,0a,00,10,08,00,00,00,00,00,00,00 --mask=0,0,0,0,8,0,0,0,0,0,0,0 $spare
fails_with "then writes are refused" 7 sg_write_same --10 --lba=0 --num=1 --xferlen=512 -i /dev/zero $spare
check "and cleared" sg_wr_mode --page=0xa --contents=0a,0a,00,10,00,00,00,00,00,00,00,00 --mask=0,0,0,0,8,0,0,0,0,0,0,0 $spare
check "then they are done" sg_write_same --10 --lba=0 --num=1 --xferlen=512 -i /dev/zero $spare

# 4. Asymmetric access, and erasing the spare LUN.
check "REPORT TARGET PORT GROUPS" sg_rtpg --decode $thin
check "with the extended header" sg_rtpg --extended $thin
group=$(sg_rtpg $thin | sed -n 's/.*target port group id : \(0x[0-9a-f]*\).*/\1/p' | head -1)
state() { sg_rtpg --decode $thin | sed -n 's/.*asymmetric access state : 0x[0-9a-f]* (\([^)]*\)).*/\1/p' | head -1; }
case $(state) in *active/optimized*) pass "the group is active/optimized" ;; *) fail "the group is $(state)" ;; esac
if has 0xa4,0xa; then
    check "SET TARGET PORT GROUPS to active/non-optimized" sg_stpg --state=1 --tp=$group $thin
    sg_turs $thin >/dev/null 2>&1
    case $(state) in *non*optimized*) pass "the group is active/non-optimized" ;; *) fail "the group is $(state), not active/non-optimized" ;; esac
    check "the disk is read all the same" dd if=$thin of=/dev/null bs=4096 count=1 iflag=direct
    check "SET TARGET PORT GROUPS back to active/optimized" sg_stpg --state=0 --tp=$group $thin
    sg_turs $thin >/dev/null 2>&1
    case $(state) in *active/optimized*) pass "the group is active/optimized again" ;; *) fail "the group is $(state)" ;; esac
else
    skip "SET TARGET PORT GROUPS (not offered)"
fi

DEV=$spare
noise 0 32
check "SANITIZE, block erase" sg_sanitize --block --quick --wait $spare
sg_turs $spare >/dev/null 2>&1
check "what was erased reads as zeroes" zeroes 0 32
printf 'ringsan!' >/tmp/pattern
check "SANITIZE, overwrite" sg_sanitize --overwrite --pattern=/tmp/pattern --ipl=8 --quick --wait $spare
sg_turs $spare >/dev/null 2>&1
same "what was overwritten is the pattern" "$(n=0; while [ $n -lt 64 ]; do printf 'ringsan!'; n=$((n + 1)); done | md5sum)" \
    "$(dd if=$spare bs=512 skip=65535 count=1 iflag=direct 2>/dev/null | md5sum)"
refused "SANITIZE of the read-only LUN is refused" sg_sanitize --block --quick $(sg_of $readonly)

# 5. What the host's kernel makes of it.
# limit KIND FILE EXPECTED
limit() { eval "_disk=\$$1"; same "$1: $2 is $3" "$3" "$(cat /sys/block/${_disk#/dev/}/$2)"; }
scsi_disk() { eval "_disk=\$$1"; same "$1: $2 is $3" "$3" "$(cat /sys/block/${_disk#/dev/}/device/scsi_disk/*/$2)"; }
# not_zero KIND FILE
not_zero() { eval "_disk=\$$1"; if [ "$(cat /sys/block/${_disk#/dev/}/$2)" -gt 0 ]; then pass "$1: $2 is not 0"; else fail "$1: $2 is 0"; fi; }
limit thin size 1048576
limit thin queue/logical_block_size 512
limit thin queue/physical_block_size 4096
limit thin queue/discard_granularity 4096
not_zero thin queue/discard_max_bytes
not_zero thin queue/write_zeroes_max_bytes
not_zero thin queue/max_hw_sectors_kb
limit thin queue/write_cache "write back"
limit thin queue/fua 1
limit thin ro 0
scsi_disk thin provisioning_mode unmap
scsi_disk thin thin_provisioning 1
scsi_disk thin cache_type "write back"
scsi_disk thin FUA 1
limit thick size 131072
limit thick queue/logical_block_size 4096
limit thick queue/physical_block_size 4096
limit thick queue/discard_max_bytes 0
not_zero thick queue/write_zeroes_max_bytes
limit thick queue/write_cache "write back"
scsi_disk thick provisioning_mode full
scsi_disk thick thin_provisioning 0
scsi_disk thick cache_type "write back"
limit readonly ro 1
limit readonly queue/discard_max_bytes 0
limit readonly queue/write_cache "write through"
limit spare queue/rotational 0
limit spare queue/write_cache "write through"
scsi_disk spare cache_type "write through"
scsi_disk spare provisioning_mode unmap
same "lsblk -D of the thin LUN" 4096 "$(lsblk --noheadings --nodeps --discard --bytes --raw -o DISC-GRAN $thin)"
same "lsblk -D of the thick LUN" 0 "$(lsblk --noheadings --nodeps --discard --bytes --raw -o DISC-MAX $thick)"

DEV=$thin
noise 0 32
check "blkdiscard of a part" blkdiscard -o 1048576 -l 16777216 $thin
check "it reads as zeroes" zeroes 1 16
check "blkdiscard of everything" blkdiscard $thin
case $(lba_status 0) in
*blocks:\ 1048576\ *deallocated*) pass "GET LBA STATUS: all of it is deallocated" ;;
*) fail "GET LBA STATUS: all of it is deallocated: $(cat /tmp/said)" ;;
esac
check "mkfs.xfs" mkfs.xfs -q -f $thin
need "mount" mount -t xfs $thin /mnt
check "files are written" dd if=/dev/urandom of=/mnt/large bs=1M count=48
sync
sum=$(md5sum </mnt/large)
rm -f /mnt/gone
dd if=/dev/urandom of=/mnt/gone bs=1M count=32 2>/dev/null
sync
rm /mnt/gone
check "fstrim" fstrim -v /mnt
umount /mnt
check "xfs_repair finds nothing" xfs_repair -n $thin
need "mount again" mount -t xfs $thin /mnt
same "the file is as written" "$sum" "$(md5sum </mnt/large)"
umount /mnt

check "logout of node B" node -I node-b --logout
check "logout of node A" logout
finish
