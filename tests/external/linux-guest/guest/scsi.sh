# What sg3-utils and the kernel ask of a disk: identity, pages, capacity, opcodes, provisioning.
# lun: path=lun.img,size=256MiB,thin
# lun: kind=ram,size=64MiB
# seconds: 240
. ./lib.sh
start_initiator

need "SendTargets discovery" iscsiadm -m discovery -t st -p "$PORTAL"
same "discovery names the target at the address advertised" "$PORTAL $TARGET" \
    "$(grep " $TARGET\$" /tmp/said | sed 's/,[0-9]* / /' | head -1)"
need "login" login
need "the disk appears" find_disk
check "the second LUN appears" find_disk $((LUN + 1))
same "the second LUN has 64 MiB" 131072 "$(cat "$SYS/size")"
find_disk
same "the first LUN has 256 MiB" 524288 "$(cat "$SYS/size")"

check "INQUIRY" sg_inq "$DEV"
check "TEST UNIT READY" sg_turs "$DEV"
check "REQUEST SENSE" sg_requests "$DEV"
check "READ CAPACITY(10)" sg_readcap "$DEV"
check "READ CAPACITY(16)" sg_readcap --long "$DEV"
lbprz=$(grep -o 'lbprz=[0-9]' /tmp/said)
check "REPORT LUNS" sg_luns "$DEV"
same "REPORT LUNS lists both" 2 "$(sg_luns "$DEV" | grep -c "^ *000[$LUN-$((LUN + 1))]0*$")"
check "MODE SENSE of all pages" sg_modes --all "$DEV"
check "REPORT SUPPORTED OPERATION CODES" sg_opcodes "$DEV"
offered "LOG SENSE, the list of pages" 0x4d sg_logs --list "$DEV"
offered "START STOP UNIT, start" 0x1b sg_start --start "$DEV"

need "VPD page 0x00" sg_vpd --page=0 "$DEV"
pages=$(sg_vpd --raw --page=0 "$DEV" | od -An -v -tx1 -j4 | tr -d '\n')
for page in $pages; do check "VPD page 0x$page" sg_vpd --page=0x$page "$DEV"; done
same "the VPD pages are in ascending order" "$pages" " $(echo $pages | tr ' ' '\n' | sort | tr '\n' ' ' | sed 's/ $//')"
for page in 80 83 b0 b1 b2; do
    case " $pages " in *" $page "*) pass "VPD page 0x$page is listed" ;; *) fail "VPD page 0x$page is listed" ;; esac
done
refused "a VPD page that is not listed is refused" sg_vpd --page=0xd7 "$DEV"
check "scsi_id finds a unique identification" /usr/lib/udev/scsi_id -g -u "$DEV"

noise 8 8
if [ "$(cat "$SYS/queue/discard_max_bytes")" != 0 ]; then
    check "discard of 8 MiB" blkdiscard -o 8388608 -l 8388608 "$DEV"
    if [ "$lbprz" = lbprz=1 ]; then check "what was discarded reads as zeroes" zeroes 8 8; fi
    check "UNMAP of 16 blocks" sg_unmap --lba=0 --num=16 --force "$DEV"
    offered "GET LBA STATUS" 0x9e,0x12 sg_get_lba_status --lba=0 "$DEV"
else
    fail "the thin LUN offers discard"
fi
noise 16 4
check "the kernel's zeroing of 4 MiB" blkdiscard -z -o 16777216 -l 4194304 "$DEV"
check "what was zeroed reads as zeroes" zeroes 16 4
offered "WRITE SAME(10)" 0x41 sg_write_same --10 --lba=0 --num=8 --xferlen=512 -i /dev/zero "$DEV"
noise 0 1
offered "WRITE SAME(16)" 0x93 sg_write_same --16 --lba=0 --num=2048 --xferlen=512 -i /dev/zero "$DEV" &&
    check "WRITE SAME(16) wrote zeroes" zeroes 0 1
offered "SYNCHRONIZE CACHE(10)" 0x35 sg_sync "$DEV"
offered "VERIFY(10)" 0x2f sg_verify --lba=0 --count=8 "$DEV"
{ dd if=/dev/zero bs=512 count=1; dd if=/dev/urandom bs=512 count=1; } >/tmp/compare 2>/dev/null
offered "COMPARE AND WRITE of what is there" 0x89 sg_compare_and_write --lba=0 --num=1 --xferlen=1024 --in=/tmp/compare "$DEV" &&
    {
        sg_compare_and_write --lba=0 --num=1 --xferlen=1024 --in=/tmp/compare "$DEV" >/tmp/again 2>&1
        same "COMPARE AND WRITE of what is not there is a miscompare" 14 $?
    }

old=$DEV
check "logout" logout
check "the disk is gone" disk_gone "$old"
finish
