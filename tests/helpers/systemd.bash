# shellcheck shell=bash disable=SC2016
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# A systemd of one's own: the real program, as number 1 of namespaces in which
# /run, /dev and the control groups are its own, and the settings of the kernel
# can only be read. Root only.
#
#   systemd_start DIR UNIT [ROOT [TREE]]
#                                   boot to UNIT; returns at once, with 77 if that
#                                   is not possible here. systemd_keeper is then a
#                                   child whose end is systemd's
#   systemd_booted                  wait until it is up; fails if it is not in
#                                   three minutes
#   systemd_enter COMMAND...        inside
#   systemd_end                     the end of all that runs inside
#   systemd_gone                    clean up when systemd_keeper has ended by itself
#
# DIR/run is /run there, and DIR/errors has why it could not be started. What is
# exported lets other processes use the last four.
#
# Without ROOT the host's files are what they are. With it they are those of ROOT,
# below what is in TREE, and nothing that is written comes back, but for DIR.
#
# A ROOT other than / is a machine: it has its own units, and DIR is /mnt there,
# for its /tmp may be a mount of its own. Else DIR is where it is outside, and of
# units there are those of TREE and of DIR/units, with TREE the host's targets too:
# nothing of the host's starts.

# As number 1 of the new namespaces.
systemd_inside() {
    local dir=$1 unit=$2 lower=${3:-} tree=${4:-} own=$1/root root='' place=$1 node
    local environment=(container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin)
    mount --make-rprivate /
    mount -t tmpfs -o mode=755 tmpfs "$own"
    mkdir "$own"/{upper,work,all,dev,sys}
    case $lower in
    '') environment+=("SYSTEMD_UNIT_PATH=$dir/units") ;;
    /) environment+=("SYSTEMD_UNIT_PATH=/etc/systemd/system:$dir/units") ;;
    *) place=/mnt ;;
    esac
    if [[ -n $lower ]]; then
        root=$own/all
        mount -t overlay -o "lowerdir=$lower,upperdir=$own/upper,workdir=$own/work" overlay "$root"
        [[ -z $tree ]] ||
            tar -C "$tree" -cf - . | tar -C "$root" -xf - --keep-directory-symlink --no-overwrite-dir
        [[ $lower != / ]] || mount -t tmpfs tmpfs "$root/etc/systemd/system"
        mkdir -p "$root$place"
        mount --bind "$dir" "$root$place"
    fi
    mount -t proc proc "$root/proc"
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"
    mount --bind "$dir/run" "$root/run"
    # Made elsewhere, for the host's may be in the place.
    mount -t sysfs -o ro sysfs "$own/sys"
    mount -t cgroup2 cgroup2 "$own/sys/fs/cgroup"
    mount --rbind "$own/sys" "$root/sys"
    for node in null zero full random urandom tty; do
        : >"$own/dev/$node"
        mount --bind "/dev/$node" "$own/dev/$node"
    done
    mkdir "$own"/dev/{shm,pts,mqueue}
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$own/dev/pts"
    ln -s pts/ptmx "$own/dev/ptmx"
    ln -s /proc/self/fd "$own/dev/fd"
    mount --rbind "$own/dev" "$root/dev"
    if [[ -n $root ]]; then
        cd "$root" || return
        pivot_root . .
        umount -l .
        cd /
    fi
    exec env -i "${environment[@]}" \
        /lib/systemd/systemd --system --log-level=err --unit="$unit" </dev/null
}

# Where its control group can be.
systemd_groups() {
    findmnt -n -o TARGET -t cgroup2 | head -n 1
}

systemd_possible() {
    local groups
    groups=$(systemd_groups)
    [[ -x ${1:-}/lib/systemd/systemd && -n $groups && -w $groups ]]
}

systemd_start() {
    local dir=$1 node
    systemd_possible "${3:-}" || return 77
    export systemd_group systemd_keeper systemd_errors=$dir/errors
    systemd_group=$(systemd_groups)/own-systemd.$BASHPID
    mkdir "$systemd_group" 2>/dev/null || return 77
    mkdir -p "$dir"/{units,root,run}
    if [[ -n ${4:-} ]]; then
        find "$4" -path '*/systemd/system/*' -type f -exec cp -t "$dir/units" {} +
        for node in basic multi-user paths shutdown slices sockets sysinit timers; do
            cp "/lib/systemd/system/$node.target" "$dir/units"
        done
    fi
    (
        exec >"$systemd_errors" 2>&1 3>&- # bats waits for who has its 3
        echo "$BASHPID" >"$systemd_group/cgroup.procs"
        exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child \
            --ipc --uts --cgroup bash -euo pipefail -c \
            'source "$0" && systemd_inside "$@"' "${BASH_SOURCE[0]}" "$@"
    ) &
    systemd_keeper=$!
}

# Degraded is well enough: units fail that want what only a whole machine has.
systemd_booted() {
    local deadline=$((SECONDS + 180)) state
    until state=$(systemd_enter systemctl is-system-running 2>/dev/null) || [[ $state = degraded ]]; do
        if ((SECONDS > deadline)) || ! kill -s 0 "$systemd_keeper" 2>/dev/null; then
            cat "$systemd_errors" >&2
            return 1
        fi
        sleep 0.1
    done
}

systemd_enter() {
    nsenter --target "$(pgrep -P "$systemd_keeper")" --all "$@" 3>&-
}

# The kernel may take its time for the last of them.
systemd_gone() {
    local deadline=$((SECONDS + 60))
    until [[ ! -d ${systemd_group:-} ]] || ((SECONDS > deadline)) ||
        find "$systemd_group" -depth -type d -exec rmdir {} + 2>/dev/null; do
        sleep 0.05
    done
}

# The keeper ends when all of them have, which no process can put off.
systemd_end() {
    [[ -n ${systemd_keeper:-} ]] || return 0
    pkill -KILL -P "$systemd_keeper" || true
    while [[ -e /proc/$systemd_keeper ]] && ! grep -q '^State:.Z' "/proc/$systemd_keeper/status"; do
        sleep 0.02
    done
    systemd_gone
}
