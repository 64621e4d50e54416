# Boots systemd on a root of its own. The namespaces are new, and the host sees none of these mounts.
# $1 has what outlives a boot: etc, var, and what is laid over the host's usr.
set -e
dir=$1
mount --make-rprivate /
mount -t tmpfs root "$dir/root"
cd "$dir/root"
mkdir usr etc var run proc sys dev tmp root old
for d in bin sbin lib lib64; do ln -s usr/$d $d; done
mount -t overlay -o "lowerdir=/usr,upperdir=$dir/usr,workdir=$dir/work" overlay usr
mount --bind "$dir/etc" etc
mount --bind "$dir/var" var
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 dev dev
for d in null zero full random urandom tty; do
	touch dev/$d
	mount --bind /dev/$d dev/$d
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 run run
mount -t tmpfs tmp tmp
ip link set lo up
pivot_root . old
umount -l old
hostname box
exec env -i container=understudy PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --log-target=journal --show-status=no </dev/null
