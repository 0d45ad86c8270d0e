# A file system on the LUN, with each combination of digests: made, filled, checked, and found again after a new login.
# lun: path=lun.img,size=256MiB,thin
# seconds: 400
. ./lib.sh
start_initiator
modprobe ext4

fill() {
    mkdir -p /mnt/many
    n=0
    while [ $n -lt 40 ]; do
        dd if=/dev/urandom of=/mnt/many/$n bs=1000 count=$((n * n / 2 + 1)) 2>/dev/null || return
        n=$((n + 1))
    done
    dd if=/dev/urandom of=/mnt/large bs=1M count=24 2>/dev/null
    (cd /mnt && find . -type f | sort | xargs md5sum) >/tmp/sums
}
intact() { (cd /mnt && md5sum -c /tmp/sums) | grep -v ': OK$' && return 1 || return 0; }

for digests in 'None None' 'CRC32C None' 'None CRC32C' 'CRC32C CRC32C'; do
    set -- $digests
    with="header digest $1, data digest $2"
    need "login, $with" login $1 $2
    same "the session has header digest $1" $1 "$(negotiated HeaderDigest)"
    same "the session has data digest $2" $2 "$(negotiated DataDigest)"
    need "the disk appears" find_disk
    check "verified random I/O, $with" fio --name=verify --filename=$DEV --direct=1 --ioengine=libaio --iodepth=16 \
        --rw=randrw --bsrange=512-128k --blockalign=512 --verify=crc32c --verify_backlog=64 --verify_fatal=1 --size=24m \
        --time_based --runtime=3
    need "mkfs.ext4" mkfs.ext4 -q -F $DEV
    need "mount" mount -t ext4 -o discard $DEV /mnt
    check "files are written" fill
    check "fstrim" fstrim /mnt
    need "unmount" umount /mnt
    check "fsck" e2fsck -f -n $DEV
    echo 3 >/proc/sys/vm/drop_caches
    need "mount again" mount -t ext4 -o ro $DEV /mnt
    check "the files are as written" intact
    umount /mnt
    same "no digest error" 0 "$(iscsiadm -m session -s | awk '/digest_err/ { n += $NF } END { print n + 0 }')"
    old=$DEV
    need "logout" logout
    check "the disk is gone" disk_gone $old
    need "login again" login $1 $2
    need "the disk appears again" find_disk
    need "mount after the new login" mount -t ext4 -o ro $DEV /mnt
    check "the files are as written after the new login" intact
    umount /mnt
    old=$DEV
    need "logout at the end" logout
    check "the disk is gone at the end" disk_gone $old
done
finish
