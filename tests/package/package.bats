#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# The Debian package, built and used in a Debian of its own, with its systemd: SUITE
# is bookworm or forky, TARBALL the release. A test goes on where the one before has
# stopped: it is the life of a package. The guests are forky's QEMU. A test with a
# suite's tag is none of the other's, which is run with --filter-tags '!TAG'.
#
# shellcheck disable=SC2154 # output: set by run
# shellcheck disable=SC2016 # in single quotes: for the machine's shell

bats_require_minimum_version 1.8.0
bats_load_library bats-support
bats_load_library bats-assert
load ../helpers/systemd

SUITE=${SUITE:-bookworm}
# To build, to check, to run; what a machine of that Debian has otherwise.
packages=(build-essential debhelper dh-apparmor pkgconf libevent-dev libseccomp-dev
    libcap-ng-dev libconfuse-dev libjansson-dev nettle-dev lintian systemd apparmor)
[[ $SUITE = bookworm ]] || packages+=(systemd-dev python3)

setup_file() {
    local root
    ((EUID == 0)) || skip "needs root, for namespaces"
    root=$("$BATS_TEST_DIRNAME/../guest/debian-root" "$SUITE" "${packages[@]}")
    # What guests need is put there too: a root below an overlay may not change.
    [[ $SUITE != forky ]] || "$BATS_TEST_DIRNAME/../guest/make-initramfs" "$root"
    export D=$BATS_FILE_TMPDIR/machine
    # The harness of guests has it made from the source tree, which is there too.
    export VM_STATE_DIR=$BATS_FILE_TMPDIR/vm PATH=$BATS_TEST_DIRNAME/../guest:$PATH
    mkdir "$D" "$VM_STATE_DIR"
    cp "${TARBALL:?the release}" "$D"
    tar -C "$D" --strip-components=1 --one-top-level=source -xf "$TARBALL"
    systemd_start "$D" multi-user.target "$root" || skip "a systemd of one's own cannot be started here"
    systemd_booted
    # The root was made without documents, which are part of what is tested.
    inside sh -c 'sed -i /^path-exclude/d /etc/dpkg/dpkg.cfg.d/*'
}

teardown_file() {
    vm kill-all || true
    systemd_end
}

setup() {
    version=$(sed -n 's/^AC_INIT(\[.*\], \[\(.*\)\])$/\1/p' "$D/source/configure.ac")
    deb=/mnt/build/vhost-shmemd_$version-1_amd64.deb
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || {
        inside systemctl --no-pager status 'vhost-shmemd*' || true
        inside journalctl --no-pager -n 60 || true
    }
}

# What the machine sees as /mnt is $D here.
inside() {
    systemd_enter env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# build DIR [COMMAND...]: the package, in /mnt/DIR, by COMMAND.
build() {
    mkdir -p "$D/$1"
    inside env -C "/mnt/$1" DEB_BUILD_OPTIONS='nocheck parallel=2' DEB_BUILD_PROFILES=nocheck \
        "${@:2}" /mnt/source/contrib/debian/make-deb "/mnt/${TARBALL##*/}"
}

# a_newer N: print the path of the same package with another version.
a_newer() {
    local tree=/mnt/newer new=/mnt/newer-$1.deb
    inside sh -euc 'rm -rf "$1"; dpkg-deb -R "$2" "$1"
        sed -i "s/^Version: .*/&+$3/" "$1/DEBIAN/control"
        dpkg-deb --root-owner-group -b -Znone "$1" "$4"' sh "$tree" "$deb" "$1" "$new" >/dev/null
    echo "$new"
}

install() {
    inside apt-get -qy install "$1"
}

main_pid() {
    inside systemctl show --value --property=MainPID vhost-shmemd.service
}

nothing_runs() {
    run inside sh -c 'cat /proc/[0-9]*/comm'
    refute_line --partial shmemd
    run -0 inside systemctl list-units --plain --no-legend --state=active 'vhost-shmemd*'
    assert_output ''
}

# All files, but for what each package changes and what goes on by itself. What
# dh_apparmor writes removes a directory of the package apparmor, if it is empty.
all_files() {
    inside find / \( -path /proc -o -path /sys -o -path /dev -o -path /tmp \
        -o -path /mnt -o -path /var/lib/dpkg -o -path /var/cache -o -path /var/log \
        -o -path /etc/apparmor.d/disable \
        -o -path /var/lib/systemd -o -path /run/systemd -o -path /run/log -o -name .lock \
        -o -name '*-' -o -name '.pwd.lock' \) -prune -o -print | sort
}

purge_leaves_nothing() {
    inside apt-get -qy purge vhost-shmemd
    all_files >"$D/after"
    run diff "$D/before" "$D/after"
    assert_output ''
}

@test "it builds from the release tarball" {
    run -0 build build
    run -0 ls "$D/build"
    assert_line "vhost-shmemd_$version-1_amd64.deb"
    assert_line "vhost-shmemd-dbgsym_$version-1_amd64.deb"
}

@test "the version stands in configure.ac, and a changelog for another is refused" {
    mkdir -p "$D/other/vhost-shmemd-9.9.9/contrib"
    cp -R "$D/source/contrib/debian" "$D/other/vhost-shmemd-9.9.9/contrib"
    tar -C "$D/other" -cJf "$D/other/vhost-shmemd-9.9.9.tar.xz" vhost-shmemd-9.9.9
    run -1 inside /mnt/source/contrib/debian/make-deb /mnt/other/vhost-shmemd-9.9.9.tar.xz
    assert_output --partial 'the version is 9.9.9 (configure.ac)'
    assert_equal "$(inside dpkg-deb -f "$deb" Version)" "$version-1"
}

# One is enough.
# bats test_tags=bookworm
@test "built once more, elsewhere, by another user's settings, it is the same" {
    run -0 build a-longer-name/of-the-directory TZ=Asia/Tokyo LC_ALL=C sh -c 'umask 027 && exec "$0" "$@"'
    local name
    for name in vhost-shmemd vhost-shmemd-dbgsym; do
        run -0 cmp "$D"/{build,a-longer-name/of-the-directory}/"${name}_$version-1_amd64.deb"
    done
}

@test "lintian finds nothing but what is argued" {
    inside lintian --allow-root --pedantic --display-info --fail-on \
        error,warning,info,pedantic "/mnt/build/vhost-shmemd_$version-1_amd64.changes"
}

@test "it installs; nothing is enabled, and nothing runs" {
    all_files >"$D/before"
    install "$deb"
    run -0 inside id vhost-shmemd
    run -0 inside stat -c '%U %a' /run/vhost-shmemd
    assert_output 'vhost-shmemd 755'
    run -0 inside find /etc/systemd /run/systemd -name '*vhost-shmemd*'
    assert_output ''
    nothing_runs
    run -0 inside systemctl list-unit-files --no-legend 'vhost-shmemd*'
    refute_line --regexp ' enabled '
    assert_line --regexp '^vhost-shmemd\.socket +disabled'
}

@test "its AppArmor profile is one for this Debian's parser" {
    inside apparmor_parser --skip-kernel-load --skip-cache --warn=all \
        /etc/apparmor.d/usr.sbin.vhost-shmemd
}

# The guest's kernel is forky's, and so has to be what runs in it.
# bats test_tags=forky
@test "with the AppArmor profile in force all is served, and no other file is opened" {
    local served elsewhere
    inside /mnt/source/tests/package/small-root /mnt/small
    mkfs.ext4 -q -F -b 4096 -d "$D/small" "$D/small.img" 160M
    vm start enforced --disk "$D/small.img"
    vm wait-boot enforced
    # The paths of a profile are those of the root of a mount namespace.
    run -0 vm run --timeout 240 enforced 'exec 2>&1; mount -t securityfs securityfs /sys/kernel/security
        unshare -m sh -euc "mount -t ext4 -o ro /dev/vda /mnt; cd /mnt
            for dir in dev proc sys; do mount --rbind /\$dir \$dir; done
            mount --move . /; exec chroot . /enforced"'
    echo "$output"
    vm kill-all
    served=${output#*--- served} elsewhere=${output#*--- elsewhere}
    served=${served%--- elsewhere*}
    assert_regex "$served" 'shmemd-builder: vhost-shmemd \(enforce\)'
    assert_regex "$served" 'vhost-shmemd-wo: vhost-shmemd//&vhost-shmemd//worker \(enforce\)'
    assert_regex "$served" 'seccomp filter loaded \([0-9]+ rules\), all layers'
    assert_regex "$served" 'memory is served'
    assert_regex "$served" 'a file is served'
    refute_regex "$served" 'denied:'
    assert_regex "$elsewhere" '/var/other/disk: Permission denied'
    assert_regex "$elsewhere" 'denied: operation="mknod" name="/var/other/disk"'
}

@test "autopkgtest: smoke" {
    inside /mnt/source/contrib/debian/tests/smoke
}

@test "autopkgtest: socket activation" {
    inside /mnt/source/contrib/debian/tests/socket-activation
}

# Bookworm's QEMU is too old.
# bats test_tags=forky
@test "autopkgtest: guest" {
    inside sh -c 'GUEST_KERNEL=/opt/guest-kernel/vmlinuz \
        GUEST_MODULES=$(echo /opt/guest-kernel/*/lib/modules/*) "$1"' \
        sh /mnt/source/contrib/debian/tests/guest
}

@test "a file in conf.d, the socket enabled: the virtual machine that connects starts the daemon" {
    inside tee /etc/vhost-shmemd/conf.d/vm.conf <<-'END'
	region "memory" { size = 16M }
	region "disk" { file = /var/lib/vhost-shmemd/disk size = 16M create = yes }
	device "vm" { shm 0 { region = memory } }
	device "disk" { shm 0 { region = disk } }
END
    inside vhost-shmemd --check-config
    inside systemctl enable --now vhost-shmemd.socket vhost-shmemd-device@disk.socket
    run -3 inside systemctl is-active vhost-shmemd.service
    vm start a --socket "$D/run/vhost-shmemd/vm.sock" --socket "$D/run/vhost-shmemd/disk.sock"
    vm wait-boot a
    run -0 inside systemctl is-active vhost-shmemd.service
    inside sh -c 'echo of the host | vhost-shmemctl attach --stdin memory'
    run -0 vm run a 'head -n 1 /dev/pmem0
        echo of the guest | dd of=/dev/pmem0 bs=4096 seek=1 conv=sync 2>/dev/null
        echo on the disk | dd of=/dev/pmem1 bs=4096 conv=sync 2>/dev/null; sync; fsync /dev/pmem1'
    assert_line 'of the host'
    run -0 inside head -n 1 /var/lib/vhost-shmemd/disk
    assert_output 'on the disk'
}

@test "an upgrade leaves a daemon alone that a virtual machine is connected to, and says so" {
    local pid
    pid=$(main_pid)
    run -0 install "$(a_newer 1)"
    assert_line --partial 'systemctl restart vhost-shmemd.service'
    assert_equal "$(main_pid)" "$pid"
    run -0 vm run a 'dd if=/dev/pmem0 bs=4096 skip=1 count=1 2>/dev/null | head -n 1'
    assert_output 'of the guest'
    run -0 vm poweroff a
}

@test "an upgrade restarts a daemon without virtual machines, and its memory stays" {
    local pid before
    pid=$(main_pid)
    before=$(inside vhost-shmemctl attach --stdout memory | sha256sum)
    run -0 install "$(a_newer 2)"
    refute_output --partial 'systemctl restart'
    run -0 inside systemctl is-active vhost-shmemd.service
    refute [ "$(main_pid)" = "$pid" ]
    assert_equal "$(inside vhost-shmemctl attach --stdout memory | sha256sum)" "$before"
    run -0 inside sh -c 'vhost-shmemctl attach --stdout memory | sed -n "s/.*of the guest/of the guest/p"'
    assert_output 'of the guest'
}

@test "a restart under a virtual machine: it has its memory, and shares it with those who come" {
    local pid
    vm start b --socket "$D/run/vhost-shmemd/vm.sock" --socket "$D/run/vhost-shmemd/disk.sock"
    vm wait-boot b
    pid=$(main_pid)
    inside systemctl restart vhost-shmemd.service
    refute [ "$(main_pid)" = "$pid" ]
    # Directly: nothing flushes any more.
    run -0 vm run b 'head -c 4096 /dev/zero | tr "\0" g >page
        dd if=page of=/dev/pmem0 bs=4096 seek=3 oflag=direct 2>&1'
    run -0 inside sh -c 'vhost-shmemctl attach --stdout memory | dd bs=4096 skip=3 count=1 2>/dev/null | head -c 3'
    assert_output ggg
    inside sh -c 'echo of the host again | vhost-shmemctl attach --stdin memory'
    run -0 vm run b 'dd if=/dev/pmem0 bs=4096 count=1 iflag=direct 2>/dev/null | head -n 1'
    assert_output 'of the host again'
    vm kill b
}

# The host wrote this in the test before.
memory_after_stop() {
    inside systemctl stop vhost-shmemd.service
    nothing_runs_but_sockets
    # The question starts it.
    run -0 inside sh -c 'vhost-shmemctl attach --stdout memory | head -n 1 | tr -d "\0"'
}

nothing_runs_but_sockets() {
    run inside sh -c 'cat /proc/[0-9]*/comm'
    refute_line --partial shmemd
}

# bats test_tags=bookworm
@test "with systemd 252 a stop and a start lose what is in memory, as the manual says" {
    memory_after_stop
    assert_output ''
}

# bats test_tags=forky
@test "with FileDescriptorStorePreserve=, as the manual has it, a stop and a start keep what is in memory" {
    "$D/source/tests/helpers/examples" "$BATS_TEST_TMPDIR"
    local block path
    block=$(grep -l FileDescriptorStorePreserve "$BATS_TEST_TMPDIR"/unit/*)
    path=$(sed -n '1s/^# //p' "$block")
    inside sh -c 'mkdir -p "${0%/*}" && cat >"$0"' "$path" <"$block"
    inside systemctl daemon-reload
    memory_after_stop
    assert_output 'of the host again'
    inside rm -r "${path%/*}"
    inside systemctl daemon-reload
    memory_after_stop
    assert_output ''
}

@test "after removal nothing runs, and the configuration is there; after purge nothing is" {
    # A tenant's unit, too.
    inside systemctl enable --now vhost-shmemd@root.socket
    inside apt-get -qy remove vhost-shmemd
    nothing_runs
    inside test -e /etc/vhost-shmemd/conf.d/vm.conf
    purge_leaves_nothing
}

@test "it can be installed again, as README.md tells an administrator, and serves" {
    "$D/source/tests/helpers/examples" "$BATS_TEST_TMPDIR"
    cat "$BATS_TEST_TMPDIR"/admin/README.md.* >"$D/build/as-in-readme"
    inside env -C /mnt/build bash -eu as-in-readme
    run -0 inside vhost-shmemctl probe /run/vhost-shmemd/vm.sock
    assert_line --partial 'shmid 0: 64M'
    inside /mnt/source/contrib/debian/tests/smoke
    purge_leaves_nothing
}
