# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# To be sourced: a machine made of a root directory (tests/guest/debian-root) with
# its systemd as process 1, in namespaces. Nothing that is written there comes back
# to the root. As root only.
#
#   machine_start DIR ROOT    returns when it has booted; 77: no systemd is
#                             possible here. DIR is /mnt in there, DIR/run is /run
#   machine_run COMMAND...    inside, with an empty environment
#   machine_end               the end of all that runs there
#
# DIR/machine says which it is, to other processes.

# As number 1 of the new namespaces.
machine_inside() {
    local dir=$1 lower=$2 root=$1/root node
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$root"
    mkdir "$root"/{upper,work,all}
    mount -t overlay overlay \
        -o "lowerdir=$lower,upperdir=$root/upper,workdir=$root/work" "$root/all"
    root=$root/all
    # This is what is tested, and documents are part of a package.
    sed -i '/^path-exclude/d' "$root"/etc/dpkg/dpkg.cfg.d/* "$root"/etc/dpkg/dpkg.cfg
    cp -L /etc/resolv.conf "$root/etc/resolv.conf" || true
    # The kernel is not this machine's to set up.
    mount -t proc proc "$root/proc"
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount --bind "$dir/run" "$root/run"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for node in null zero full random urandom tty; do
        : >"$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    mkdir "$root"/dev/{shm,pts,mqueue}
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    mount --bind "$dir" "$root/mnt"
    cd "$root" || return
    pivot_root . .
    umount -l .
    cd /
    exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --log-level=warning --log-target=console \
        --unit=multi-user.target </dev/null
}

machine_start() {
    local dir=$1 groups keeper
    groups=$(findmnt -n -o TARGET -t cgroup2 | head -n 1)
    [[ -n $groups && -w $groups ]] || return 77
    mkdir -p "$dir/root" "$dir/run"
    mkdir "$groups/machine.$$" || return 77
    (
        exec 3>&- >"$dir/console" 2>&1
        echo "$BASHPID" >"$groups/machine.$$/cgroup.procs"
        # shellcheck disable=SC2016 # the inner shell expands it
        exec unshare --mount --pid --fork --kill-child \
            --ipc --uts --cgroup bash -euo pipefail -c \
            'source "$0" && machine_inside "$@"' "${BASH_SOURCE[0]}" "$@"
    ) &
    keeper=$!
    printf '%s\n' "$keeper" "$groups/machine.$$" >"$dir/machine"
    machine_dir=$dir
    machine_booted || {
        cat "$dir/console" >&2
        return 1
    }
}

# Until systemctl says what it says of a machine that is up: degraded is well
# enough, for units fail that want what only a whole machine has.
machine_booted() {
    local deadline=$((SECONDS + 60)) state
    until state=$(machine_run systemctl is-system-running 2>/dev/null) ||
        [[ $state == degraded ]]; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

machine_run() {
    local keeper
    read -r keeper <"$machine_dir/machine"
    nsenter --target "$(pgrep -P "$keeper")" --all \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@" 3>&-
}

machine_end() {
    local keeper group deadline
    [[ -e ${machine_dir:-}/machine ]] || return 0
    { read -r keeper && read -r group; } <"$machine_dir/machine"
    disown "$keeper" 2>/dev/null || true # of no interest how it ends
    kill -s KILL "$keeper" 2>/dev/null || true
    while kill -s 0 "$keeper" 2>/dev/null; do sleep 0.05; done
    # The kernel takes its time to end all that were in there.
    deadline=$((SECONDS + 10))
    until find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || ((SECONDS > deadline)); do
        sleep 0.05
    done
    rm -f "$machine_dir/machine"
}
