# shellcheck shell=bash disable=SC2016
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# A systemd of one's own: the real program, as number 1 of namespaces in which
# /run, /dev and the control groups are its own. Root only.
#
#   systemd_start DIR UNIT [TREE]   boot to UNIT; files of DIR/units are its
#                                   units, and DIR is there inside as outside
#   systemd_enter COMMAND...        inside
#   systemd_end                     the end of all that runs inside
#
# Without TREE the host's files are what they are. With it they are seen below
# what is in TREE, and nothing that is written comes back, but for DIR. Of units
# there are those of TREE and of DIR/units, and the host's targets: nothing of the
# host's starts, and its kernel is not set up once more.

# As number 1 of the new namespaces.
systemd_inside() {
    local dir=$1 unit=$2 tree=${3:-} root='' node units=$1/units
    mount --make-rprivate /
    if [[ -n $tree ]]; then
        units=/etc/systemd/system:$units
        mount -t tmpfs tmpfs "$dir/root"
        mkdir "$dir"/root/{upper,work,all}
        root=$dir/root/all
        mount -t overlay -o "lowerdir=/,upperdir=$dir/root/upper,workdir=$dir/root/work" overlay "$root"
        tar -C "$tree" -cf - . | tar -C "$root" -xf - --keep-directory-symlink --no-overwrite-dir
        mount --rbind /sys "$root/sys"
        mount --bind "$dir" "$root$dir"
        mount -t tmpfs tmpfs "$root/etc/systemd/system"
    fi
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mkdir "$root/run/dev"
    mount -t tmpfs -o mode=755 tmpfs "$root/run/dev"
    for node in null zero full random urandom tty console; do
        : >"$root/run/dev/$node"
    done
    for node in null zero full random urandom tty; do
        mount --bind "/dev/$node" "$root/run/dev/$node"
    done
    mount --bind /dev/null "$root/run/dev/console"
    mkdir "$root"/run/dev/{shm,pts,mqueue}
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/run/dev/pts"
    ln -s pts/ptmx "$root/run/dev/ptmx"
    mount --rbind "$root/run/dev" "$root/dev"
    mount -t tmpfs tmpfs "$root/sys/fs/cgroup" 2>/dev/null || true
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    if [[ -n $root ]]; then
        cd "$root" || return
        pivot_root . .
        umount -l .
        cd /
    fi
    exec env -i container=other SYSTEMD_UNIT_PATH="$units" PATH="$PATH" \
        /lib/systemd/systemd --system --log-level=err --unit="$unit" </dev/null
}

# Where its control group can be.
systemd_groups() {
    findmnt -n -o TARGET -t cgroup2 | head -n 1
}

systemd_possible() {
    local groups
    groups=$(systemd_groups)
    [[ -x /lib/systemd/systemd && -n $groups && -w $groups ]]
}

# Returns 77 if that is not possible here; systemd_keeper is a child whose end
# is systemd's.
systemd_start() {
    local dir=$1 node
    systemd_possible || return 77
    systemd_group=$(systemd_groups)/own-systemd.$BASHPID
    mkdir "$systemd_group" 2>/dev/null || return 77
    mkdir -p "$dir/units" "$dir/root"
    if [[ -n ${3:-} ]]; then
        find "$3" -path '*/systemd/system/*' -type f -exec cp -t "$dir/units" {} +
        for node in basic multi-user paths shutdown slices sockets sysinit timers; do
            cp "/lib/systemd/system/$node.target" "$dir/units"
        done
    fi
    (
        echo "$BASHPID" >"$systemd_group/cgroup.procs"
        exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child \
            --ipc --uts --cgroup bash -euo pipefail -c \
            'source "$0" && systemd_inside "$@"' "${BASH_SOURCE[0]}" "$@"
    ) &
    systemd_keeper=$!
}

systemd_enter() {
    nsenter --target "$(pgrep -P "$systemd_keeper")" --all "$@"
}

# systemd_gone: when systemd_keeper has ended.
systemd_gone() {
    find "$systemd_group" -depth -type d -exec rmdir {} + 2>/dev/null || true
}

# The keeper ends when all of them have.
systemd_end() {
    pkill -KILL -P "$systemd_keeper" || true
    while [[ -e /proc/$systemd_keeper ]] && ! grep -q '^State:.Z' "/proc/$systemd_keeper/status"; do
        sleep 0.02
    done
    systemd_gone
}
