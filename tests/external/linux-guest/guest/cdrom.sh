# A CD-ROM: what the kernel's sr_mod, ISO 9660 and sg3-utils make of it; the lock of the door, eject and load.
# iso: disc.iso
# lun: path=disc.iso,cdrom
# lun: kind=ram,size=8MiB
# seconds: 300
. ./lib.sh
start_initiator
modprobe sr_mod
modprobe isofs

need "login" login
need "the drive appears" find_disk
same "it is a CD-ROM drive" sr "$(echo "${DEV#/dev/}" | tr -d 0-9)"
same "blocks of 2048 bytes" 2048 "$(cat "$SYS/queue/logical_block_size")"
same "the medium is removable" 1 "$(cat "$SYS/removable")"
check "the kernel found its capabilities" grep -q 'Can play audio:' /proc/sys/dev/cdrom/info
# says PATTERN COMMAND...: whether it succeeds and says so.
says() {
    _pattern=$1
    shift
    "$@" >/tmp/says 2>&1 || return
    cat /tmp/says
    grep -q "$_pattern" /tmp/says
}
# The unit attention after a load is reported once.
turs() { sg_turs "$DEV" || sg_turs "$DEV"; }
can() { awk -v what="$1" -F: '$1 == what { gsub(/[ \t]/, "", $2); print $2 }' /proc/sys/dev/cdrom/info; }
same "it can lock the tray" 1 "$(can 'Can lock tray')"
same "it can close the tray" 1 "$(can 'Can close tray')"
same "it reads DVDs" 1 "$(can 'Can read DVD')"
same "it writes nothing" 00 "$(can 'Can write CD-R')$(can 'Can write DVD-R')"
check "INQUIRY says that it is a CD-ROM" says 'PDT=5' sg_inq "$DEV"
check "MODE SENSE of all pages" sg_modes --all "$DEV"
check "GET CONFIGURATION says so, too" says 'CD-ROM.*<current>\|Current profile.*CD-ROM' sg_get_config "$DEV"
check "REPORT SUPPORTED OPERATION CODES" sg_opcodes "$DEV"
refused "nothing can be written" dd if=/dev/zero of="$DEV" bs=2048 count=1
# Newer kernels of the release ask for this feature only when somebody wants to write.
same "not even with Mount Rainier" 0 "$(can 'Can write MRW')"
check "READ TOC" sg_raw -r 20 "$DEV" 43 00 00 00 00 00 00 00 14 00
check "READ DISC INFORMATION" sg_raw -r 34 "$DEV" 51 00 00 00 00 00 00 00 22 00
check "GET EVENT STATUS NOTIFICATION" sg_raw -r 8 "$DEV" 4a 01 00 00 10 00 00 00 08 00
check "MECHANISM STATUS" sg_raw -r 8 "$DEV" bd 00 00 00 00 00 00 00 00 08 00 00
check "READ CD" sg_raw -r 2048 "$DEV" be 00 00 00 00 10 00 00 01 10 00 00
refused "a command of disks" sg_raw "$DEV" 35 00 00 00 00 00 00 00 00 00

mounts() {
    check "mount$1" mount -t iso9660 -o ro "$DEV" /mnt || return
    check "the files are as written$1" sums
}
sums() { (cd /mnt && md5sum -c md5sums); }
mounts ""
refused "no eject while it is mounted" sg_start --eject "$DEV"
check "unmount" umount /mnt
echo 0 >/proc/sys/dev/cdrom/autoclose
check "eject" eject "$DEV"
refused "TEST UNIT READY without the medium" sg_turs "$DEV"
refused "mount without the medium" mount -t iso9660 -o ro "$DEV" /mnt
check "load" eject -t "$DEV"
check "TEST UNIT READY with the medium" turs
mounts ", after eject and load"
umount /mnt
# The kernel allows the removal again whenever the last who has /dev/sr0 open closes it.
SG=/dev/$(ls "$SYS/device/scsi_generic")
check "PREVENT MEDIUM REMOVAL" sg_prevent --prevent=1 "$SG"
refused "eject of a locked medium" sg_start --eject "$SG"
check "ALLOW MEDIUM REMOVAL" sg_prevent --allow "$SG"
check "eject with sg_start" sg_start --eject "$SG"
echo 1 >/proc/sys/dev/cdrom/autoclose
mounts ", which loads it"
umount /mnt

check "the disk beside it appears" find_disk $((LUN + 1))
same "which is a disk" sd "$(echo "${DEV#/dev/}" | cut -c1-2)"
check "logout" logout
finish
