#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# As a service: the units of contrib/systemd, as "make install" leaves them, under
# a systemd of the tests' own (helpers/systemd.bash). What the daemon makes of what
# any manager may say is in activation.bats.
# shellcheck disable=SC2154,SC2034 # daemon_pid, log and output are of helpers and bats
# shellcheck disable=SC2030,SC2031 # each test is a shell of its own
# shellcheck disable=SC2016 # commands in single quotes are for shells inside

load helpers/common
load helpers/systemd

# One systemd for all tests. $box is what it and we both see.
setup_file() {
    export SYSTEMD_STATUS=77
    umask 022
    box=$(mktemp -d "${TMPDIR:-/tmp}/vhost-shmemd.XXXXXX")
    chmod 0755 "$box"
    tree=$box/tree
    export box tree
    env -u MAKEFLAGS -u MAKELEVEL make -s -C "$top_builddir" install DESTDIR="$tree" >"$box/make.log" 2>&1 || {
        cat "$box/make.log"
        return 1
    }
    ((EUID == 0)) && has_units && systemd_possible || return 0
    mkdir -p "$box/units"
    printf '%s\n' '[Unit]' 'Wants=sockets.target multi-user.target' >"$box/units/test.target"
    local unit
    for unit in vhost-shmemd.service vhost-shmemd@.service; do
        mkdir "$box/units/$unit.d"
        printf '%s\n' '[Service]' "StandardError=append:$box/log" RestartSec=100ms >"$box/units/$unit.d/tests.conf"
    done
    user_manager
    cp "$top_srcdir/tests/vuctl" "$box"
    SYSTEMD_STATUS=0
    systemd_start "$box" test.target / "$tree" || SYSTEMD_STATUS=$?
    ((SYSTEMD_STATUS == 0)) || return 0
    systemd_booted
    # What a package does.
    inside systemd-sysusers "$(installed sysusers.d/vhost-shmemd.conf)"
    inside systemd-tmpfiles --create "$(installed tmpfiles.d/vhost-shmemd.conf)"
}

teardown_file() {
    ((SYSTEMD_STATUS != 0)) || systemd_end 2>/dev/null
    rm -rf "$box"
}

teardown() {
    if ((SYSTEMD_STATUS == 0)); then
        inside bash -c 'systemctl stop "vhost-shmemd*" "tests-*"; systemctl reset-failed
            rm -rf /etc/systemd/system/* /var/lib/vhost-shmemd*/* /var/lib/private/*
            systemctl daemon-reload'
    fi
    common_teardown
    rm -f "$log"
}

# --- helpers ----------------------------------------------------------------------

# user_manager: a unit that runs a systemd for the user games, as logind does.
user_manager() {
    local node
    mkdir -p "$box/user-units/vhost-shmemd.service.d"
    for node in {basic,default,exit,paths,shutdown,sockets,timers}.target systemd-exit.service; do
        cp "/usr/lib/systemd/user/$node" "$box/user-units"
    done
    find "$tree" -path '*/systemd/user/*' -type f -exec cp -t "$box/user-units" {} +
    cat >"$box/units/tests-user.service" <<END
[Service]
Type=notify
User=games
Delegate=yes
RuntimeDirectory=tests-user
RuntimeDirectoryMode=0700
Environment=XDG_RUNTIME_DIR=/run/tests-user HOME=/run/tests-user SYSTEMD_UNIT_PATH=$box/user-units
ExecStart=/lib/systemd/systemd --user --log-level=err
END
    printf '%s\n' '[Service]' 'StandardError=append:%t/log' >"$box/user-units/vhost-shmemd.service.d/tests.conf"
}

# They are where systemd looks, and so is the daemon where services see it: not
# in /tmp or a home, where "make distcheck" has it.
has_units() {
    local unit
    for unit in "$tree"{,/usr,/usr/local}/lib/systemd/system/vhost-shmemd.service; do
        [[ ! -e $unit ]] || return 0
    done
    return 1
}

inside() {
    systemd_enter "$@"
}

# installed FILE: where it was installed.
installed() {
    local path
    path=$(find "$tree" -path "*/$1")
    [[ -n $path ]] || fail "$1 is not installed"
    echo "${path#"$tree"}"
}

# What the tests below it need; the log is that of the services.
require_systemd() {
    require_root
    require_units
    ((SYSTEMD_STATUS == 0)) || skip 'no systemd can be started here'
    log=$box/log
}

require_units() {
    has_units || skip 'configured to install no units where systemd looks'
}

# config_path [TENANT]: where the service has its configuration.
config_path() {
    local path
    path=$(sed -n 's/^ExecStart=.*--config=//p' "$tree$(installed "systemd/system/vhost-shmemd${1:+@}.service")")
    echo "${path//%i/${1:-}}"
}

# configure [TENANT]: standard input becomes the configuration; the layers of
# workers must all be there.
configure() {
    local path
    path=$(config_path "$@")
    { printf '%s\n' 'log-level = debug' 'sandbox = strict' && cat; } |
        inside bash -c 'mkdir -p "${1%/*}" && cat >"$1"' bash "$path"
}

# drop_in UNIT SETTING...: what the operator has changed.
drop_in() {
    local unit=$1 section=Service
    shift
    [[ $unit != *.socket ]] || section=Socket
    printf '%s\n' "[$section]" "$@" |
        inside bash -c 'mkdir -p "$1" && cat >"$1/test.conf" && systemctl daemon-reload' bash "/etc/systemd/system/$unit.d"
}

region() {
    echo "region $1 { size = 4M ${*:2} }"
}

# device NAME [KEYS]: without a socket.
device() {
    echo "device $1 { shm 0 { region = $1 } ${*:2} }"
}

# front NAME STEP...: a front-end of this device; of a tenant's: TENANT/NAME.
front() {
    "${as[@]}" "$box/vuctl" --socket "$(socket_of "$1")" "${@:2}"
}

socket_of() {
    case $1 in
    */*) echo "/run/vhost-shmemd-tenants/$1.sock" ;;
    *) echo "/run/vhost-shmemd/$1.sock" ;;
    esac
}

as=(inside)

# as_user USER GROUP: from now on front-ends are of this user, who is in this
# group besides.
as_user() {
    as=(inside setpriv --reuid="$1" --regid=65534 --groups="$2")
}

service_says() {
    inside systemctl show -P "$1" "${2:-vhost-shmemd.service}"
}

is_state() {
    [[ $(service_says ActiveState "${2:-}") = "$1" ]]
}

main_pid() {
    service_says MainPID "${1:-}"
}

is_another() {
    local now
    now=$(main_pid)
    [[ $now != 0 && $now != "$1" ]] && is_state active
}

# --- systemd's own tools ------------------------------------------------------------

@test "systemd-analyze verify has nothing to say of the units" {
    require_systemd
    local units
    units=$(installed systemd/system/vhost-shmemd.service)
    run -0 inside bash -c 'systemd-analyze verify --man=no "$1"/vhost-shmemd*' bash "${units%/*}"
    assert_output ''
    units=$(installed systemd/user/vhost-shmemd.service)
    run -0 inside bash -c 'mkdir -p /run/user/0 && XDG_RUNTIME_DIR=/run/user/0 systemd-analyze --user verify --man=no "$1"/vhost-shmemd*' bash "${units%/*}"
    assert_output ''
}

# What systemd-analyze finds open, and why it is.
argued='RestrictNamespaces_(user|pid|net|uts|mnt|cgroup|ipc) workers are in namespaces of their own
SystemCallFilter_(mount|privileged) and have an empty root, by mount and pivot_root
SystemCallFilter_resources mbind is for numa-node
RestrictAddressFamilies_AF_UNIX front-ends connect
PrivateUsers for allow-user and allow-group
RootDirectoryOrRootImage regions can be files
DeviceAllow the clock, which ProtectClock itself lets be read'

@test "systemd-analyze security finds nothing open but what is argued" {
    require_units
    require_tool systemd-analyze
    local unit
    for unit in vhost-shmemd.service vhost-shmemd@tenant.service; do
        run -0 systemd-analyze security --offline=yes --root="$tree" --threshold=15 --no-pager "$unit"
        run -0 systemd-analyze security --offline=yes --root="$tree" --json=short "$unit"
        run -0 python3 -c '
import json, re, sys
argued = [line.split()[0] for line in sys.argv[1].splitlines()]
for x in json.loads(sys.argv[2]):
    if x["exposure"] and not any(re.fullmatch(a, x["json_field"]) for a in argued):
        print(x["json_field"], x["description"])' "$argued" "$output"
        assert_output ''
    done
}

# --- sockets before the daemon -------------------------------------------------------

@test "enable --now makes the sockets, the first front-end starts the daemon, and it is ready when it is served" {
    require_systemd
    configure < <(region vm && device vm)
    run -0 inside systemctl enable --now vhost-shmemd.socket
    assert_equal "$(service_says ActiveState)" inactive
    run -0 inside stat -c '%U:%G %a' "$(socket_of vm)" "$(socket_of control)"
    assert_output $'root:vhost-shmemd 660\nvhost-shmemd:vhost-shmemd 600'
    run -0 front vm up flush stop
    assert_equal "$(service_says ActiveState)" active
    assert_equal "$(service_says Type) $(service_says WatchdogUSec)" 'notify 30s'
    assert_regex "$(service_says StatusText)" '^1 device, 1 region, 0 '
    assert_log "listening on $(socket_of vm), handed over"
    refute_warnings
}

@test "the first question of vhost-shmemctl starts the daemon" {
    require_systemd
    configure < <(region vm && device vm)
    inside systemctl start vhost-shmemd.socket
    run -0 inside vhost-shmemctl status
    assert_line --regexp '^vm +pmem '
    assert_equal "$(service_says ActiveState)" active
}

@test "members of the group are served, and others cannot connect" {
    require_systemd
    configure < <(region vm && device vm)
    inside systemctl start vhost-shmemd.socket
    as_user games vhost-shmemd
    run -0 front vm up flush stop
    as_user games users
    run -1 front vm get-features
    assert_output --partial 'Permission denied'
}

@test "who a front-end is can be told in the unit's confinement" {
    require_systemd
    configure < <(region vm && device vm 'allow-user = { games }')
    inside systemctl start vhost-shmemd.socket
    as_user games vhost-shmemd
    run -0 front vm up flush stop
    as_user man vhost-shmemd
    run -0 front vm expect-close
}

@test "each device has a socket unit of its own" {
    require_systemd
    configure < <(region vm && region data && region more.2 && device vm && device data && device more.2)
    inside systemctl start vhost-shmemd.socket vhost-shmemd-device@{data,more.2}.socket
    run -0 front data negotiate start expect-map name=data stop
    run -0 front vm negotiate start expect-map name=vm stop
    run -0 front more.2 negotiate start expect-map name=more.2 stop
}

@test "a socket unit that no device is called like fails the service, by name" {
    require_systemd
    configure < <(region vm && device vm)
    drop_in vhost-shmemd.service Restart=no
    inside systemctl start vhost-shmemd.socket vhost-shmemd-device@nobody.socket
    run -1 inside systemctl start vhost-shmemd.service
    assert_log 'error: .*nobody'
    assert_equal "$(service_says Result)" exit-code
}

@test "without socket units the daemon makes the sockets that its configuration names" {
    require_systemd
    configure < <(region vm && device vm 'socket = /run/vhost-shmemd/own.sock socket-mode = 0660')
    inside systemctl start vhost-shmemd.service
    run -0 front own up flush stop
    run -0 inside vhost-shmemctl status
    inside systemctl stop vhost-shmemd.service
    run -0 inside ls /run/vhost-shmemd
    assert_output ''
}

# --- its life ----------------------------------------------------------------------------

start_with_bytes() {
    require_systemd
    configure < <(region vm && region zero on-release=zero && device vm && device zero)
    inside systemctl start vhost-shmemd.socket vhost-shmemd-device@zero.socket
    run -0 front vm up region-write 0x1000 c0ffee flush stop
    pid=$(main_pid)
}

has_bytes() {
    run -0 front vm up region-read 0x1000 c0ffee flush stop
}

@test "a front-end that runs keeps its memory over systemctl restart, and shares it with those that come" {
    start_with_bytes
    run -0 front vm up run 'systemctl restart vhost-shmemd.service' region-read 0x1000 c0ffee region-write 0x2000 cafe \
        connect up region-read 0x1000 c0ffee region-read 0x2000 cafe flush stop
}

@test "systemctl restart keeps what is in a region" {
    start_with_bytes
    inside systemctl restart vhost-shmemd.service
    assert is_another "$pid"
    has_bytes
    assert_log 'region vm: .*with what was in it'
}

@test "a supervisor that hangs is started again by the watchdog, and keeps what is in a region" {
    start_with_bytes
    drop_in vhost-shmemd.service WatchdogSec=3
    inside systemctl restart vhost-shmemd.service
    pid=$(main_pid)
    inside kill -s STOP "$pid"
    wait_until is_another "$pid"
    assert_equal "$(service_says NRestarts)" 1
    has_bytes
}

@test "a supervisor that does its work is left alone by the watchdog" {
    require_systemd
    configure < <(region vm && device vm)
    drop_in vhost-shmemd.service WatchdogSec=3
    inside systemctl start vhost-shmemd.socket
    # Long enough for the watchdog, which a busy machine must not set off.
    run -0 front vm up flush run 'sleep 5' flush stop
    assert_equal "$(service_says NRestarts)" 0
}

@test "a mistake in the configuration costs no memory: it is started again until there is none" {
    start_with_bytes
    configure <<<'nonsense = yes'
    run -1 inside systemctl restart vhost-shmemd.service
    wait_until eval '(($(service_says NRestarts) >= 6))'
    configure < <(region vm && device vm && region zero && device zero)
    wait_until is_another "$pid"
    has_bytes
}

@test "a supervisor that was killed is started again, and keeps what is in a region" {
    start_with_bytes
    inside kill -s KILL "$pid"
    wait_until is_another "$pid"
    has_bytes
}

@test "systemctl stop ends all processes and leaves the sockets, and the next front-end starts it" {
    start_with_bytes
    inside systemctl stop vhost-shmemd.service
    assert_equal "$(service_says Result)" success
    run -1 inside pgrep -u vhost-shmemd
    run -0 front vm up flush stop
    assert is_another "$pid"
}

@test "systemctl reload serves what is new, and tells what is wrong" {
    start_with_bytes
    configure < <(region vm && region zero && region new && device vm && device zero &&
        device new 'socket = /run/vhost-shmemd/new.sock')
    run -0 inside systemctl reload vhost-shmemd.service
    run -0 front new negotiate start expect-map name=new stop
    configure < <(region vm && device vm && echo 'nonsense = yes')
    run -1 inside systemctl reload vhost-shmemd.service
    assert_log "nonsense"
    assert_equal "$(service_says ActiveState)" active
    assert_equal "$(main_pid)" "$pid"
    has_bytes
}

# --- confinement -------------------------------------------------------------------------

# While a front-end is served; $1 is the supervisor.
look='
    cd /proc
    children=$(pgrep -P $1)
    for pid in $1 $children; do
        name=$(<$pid/comm)
        field() { sed -n "s/^$1:[[:space:]]*//p" $pid/status; }
        same=
        for ns in user mnt net pid ipc uts cgroup; do
            [[ $(readlink $pid/ns/$ns) != "$(readlink $1/ns/$ns)" ]] || same+=" $ns"
        done
        echo "$name uid=$(field Uid | cut -f 1) nnp=$(field NoNewPrivs) seccomp=$(field Seccomp)" \
            "filters=$(field Seccomp_filters) eff=$(field CapEff) bnd=$(field CapBnd) same:$same"
    done'

@test "all processes are confined by the unit, and by themselves as elsewhere" {
    require_systemd
    local uid zero=0000000000000000 unit_filters
    configure < <(region vm && device vm && region file file=/var/lib/vhost-shmemd/file create=yes &&
        device file)
    inside systemctl start vhost-shmemd.socket vhost-shmemd-device@file.socket
    printf '%s\n' "$look" >"$box/look"
    run -0 front vm up run "bash $box/look \$(systemctl show -P MainPID vhost-shmemd.service)"
    uid=$(inside id -u vhost-shmemd)
    echo "$output"
    # The builder has the unit's filters alone.
    unit_filters=$(sed -nE 's/^shmemd-builder .* filters=([0-9]+) .*/\1/p' <<<"$output")
    ((unit_filters >= 5)) || fail "the unit's filters are $unit_filters"
    assert_line "shmemd-builder uid=$uid nnp=1 seccomp=2 filters=$unit_filters eff=$zero bnd=$zero same: user mnt net pid ipc uts cgroup"
    assert_line "vhost-shmemd uid=$uid nnp=1 seccomp=2 filters=$((unit_filters + 1)) eff=$zero bnd=$zero same: user mnt net pid ipc uts cgroup"
    # In a user namespace of its own, with what workers are made by.
    assert_line --regexp "^shmemd-spawner uid=$uid nnp=1 seccomp=2 filters=$((unit_filters + 1)) eff=0000000000200100 .* same: mnt net pid ipc uts cgroup\$"
    assert_line "vhost-shmemd-wo uid=$uid nnp=1 seccomp=2 filters=$((unit_filters + 2)) eff=$zero bnd=$zero same:"
    assert_log 'filter loaded .*, all layers$'
    refute_warnings
}

@test "the supervisor sees no network, no home, no device and no other process" {
    require_systemd
    configure < <(region vm && device vm)
    inside systemctl start vhost-shmemd.socket
    front vm get-features
    pid=$(main_pid)
    run -0 inside nsenter --target "$pid" --mount --net --setuid 65534 --setgid 65534 bash -c '
        tail -n +3 /proc/self/net/dev | cut -d : -f 1 | tr -d " "
        ls -A /home /root 2>/dev/null | grep -v :
        ls /dev | grep -E "^(vda|kvm|kmsg|mem|console)$"
        for pid in /proc/[0-9]*; do [[ -O $pid ]] || echo "$pid"; done
        [[ ! -w /usr && ! -w /etc && ! -w /srv ]] && echo read-only'
    assert_output $'lo\nread-only'
}

# --- regions ------------------------------------------------------------------------------

@test "memory can be locked and of a NUMA node" {
    require_systemd
    local node='' size=32M
    [[ ! -e /sys/devices/system/node/node0 ]] || node=numa-node=0
    # More than what everybody may lock, if root can raise that here.
    [[ $(inside bash -c 'ulimit -H -l') = unlimited ]] || size=4M
    assert_equal "$(service_says LimitMEMLOCK)" infinity
    configure < <(echo "region vm { size = $size lock = yes prealloc = yes $node }" && device vm)
    inside systemctl start vhost-shmemd.socket
    run -0 front vm up flush stop
}

@test "regions that are files lie in the state directory, and elsewhere if the unit is told" {
    require_systemd
    configure < <(region vm file=/var/lib/vhost-shmemd/vm create=yes && device vm)
    inside systemctl start vhost-shmemd.socket
    run -0 front vm up backing=file region-write 0 c0ffee flush stop
    run -0 inside stat -c '%U %s %a' /var/lib/vhost-shmemd/vm
    assert_output "vhost-shmemd 4194304 600"
    inside systemctl stop vhost-shmemd.service

    inside install -d -o vhost-shmemd /srv/regions
    configure < <(region vm file=/srv/regions/vm create=yes && device vm)
    drop_in vhost-shmemd.service Restart=no
    run -1 inside systemctl start vhost-shmemd.service
    assert_log '/srv/regions/vm: Read-only file system'
    drop_in vhost-shmemd.service ReadWritePaths=/srv/regions
    run -0 front vm up backing=file flush stop
}

# --- tenants and users ---------------------------------------------------------------------

users() {
    inside id -u vhost-shmemd
    local unit
    for unit; do
        inside stat -c %u "/proc/$(main_pid "$unit")"
    done
}

@test "each tenant has a daemon of its own, which restarts keep the memory of" {
    require_systemd
    configure games < <(region vm && device vm)
    configure man < <(region vm && device vm)
    inside systemctl enable --now vhost-shmemd@{games,man}.socket
    as_user games nogroup
    run -0 front games/vm up region-write 0 c0ffee flush stop
    run -1 front man/vm get-features
    assert_output --partial 'Permission denied'
    as_user man nogroup
    run -0 front man/vm up region-read 0 000000 flush stop
    run -0 users vhost-shmemd@games.service vhost-shmemd@man.service
    assert_equal "$(sort -u <<<"$output" | wc -l)" 3

    inside systemctl restart vhost-shmemd@games.service
    as_user games nogroup
    run -0 front games/vm up region-read 0 c0ffee flush stop
    run -0 inside systemctl reload vhost-shmemd@games.service
    refute_warnings
    configure games <<<'nonsense = yes'
    run -1 inside systemctl reload vhost-shmemd@games.service
    run -0 inside vhost-shmemctl status --control=/run/vhost-shmemd-tenants/man/control.sock
}

@test "a user has a service without root" {
    require_systemd
    local dir=/run/tests-user
    inside systemctl start tests-user.service
    as=(inside setpriv --reuid=games --regid=60 --clear-groups env XDG_RUNTIME_DIR="$dir")
    { echo 'sandbox = strict' && region vm && device vm; } |
        "${as[@]}" bash -c 'mkdir -p "$1" && cat >"$1/vhost-shmemd.conf"' bash "$dir/.config/vhost-shmemd"
    "${as[@]}" systemctl --user start vhost-shmemd.socket
    socket=$dir/vhost-shmemd/vm.sock
    run -0 "${as[@]}" "$box/vuctl" --socket "$socket" up region-write 0 c0ffee flush stop
    run -0 "${as[@]}" systemctl --user restart vhost-shmemd.service
    run -0 "${as[@]}" "$box/vuctl" --socket "$socket" up region-read 0 c0ffee flush stop
    run -0 "${as[@]}" systemctl --user reload vhost-shmemd.service
    run -0 inside cat "$dir/log"
    assert_line --regexp 'filter loaded .*, all layers$'
    run -0 "${as[@]}" systemctl --user stop vhost-shmemd.service vhost-shmemd.socket
    assert [ ! -e "$socket" ]
}

@test "where the unit forbids namespaces, as the manual says it can, workers do without and tell" {
    require_systemd
    local examples=$BATS_TEST_TMPDIR/examples block path
    "$top_srcdir/tests/helpers/examples" "$examples"
    block=$(grep -l 'RestrictNamespaces=yes' "$examples"/unit/*)
    mkdir -p "$BATS_TEST_TMPDIR/root/etc/systemd/system/vhost-shmemd.service.d"
    cp -r "$tree/." "$BATS_TEST_TMPDIR/root"
    cp "$block" "$BATS_TEST_TMPDIR/root/etc/systemd/system/vhost-shmemd.service.d/x.conf"
    run -0 systemd-analyze security --offline=yes --root="$BATS_TEST_TMPDIR/root" --threshold=6 --no-pager vhost-shmemd.service
    assert_output --partial 'exposure level for vhost-shmemd.service: 0.6'
    path=$(sed -n '1s/^# //p' "$block")
    inside bash -c 'mkdir -p "${0%/*}" && cat >"$0"' "$path" <"$block"
    inside systemctl daemon-reload
    configure < <(region vm && device vm)
    inside sed -i 's/^sandbox = strict$/sandbox = auto/' "$(config_path)"
    inside systemctl start vhost-shmemd.socket
    printf '%s\n' "$look" >"$box/look"
    run -0 front vm up flush region-write 0 c0ffee run "bash $box/look \$(systemctl show -P MainPID vhost-shmemd.service)"
    assert_line --regexp '^vhost-shmemd-wo uid=[1-9].* nnp=1 seccomp=2 .* eff=0{16} bnd=0{16} same: user mnt net pid ipc uts cgroup$'
    assert_log 'seccomp filter loaded .*, without: PID namespace, network namespace, IPC namespace, UTS namespace, cgroup namespace, empty root, user namespace$'
    run -0 inside systemctl restart vhost-shmemd.service
    front vm up region-read 0 c0ffee
}

@test "what the manual tells an administrator to do works as it says" {
    require_systemd
    local examples=$BATS_TEST_TMPDIR/examples etc block path
    "$top_srcdir/tests/helpers/examples" "$examples"
    etc=$(sed -n 's/^ExecStart=.*--config=\(.*\)\/vhost-shmemd.conf$/\1/p' "$tree$(installed systemd/system/vhost-shmemd.service)")
    # Users of its examples, and what they have besides.
    inside bash -euc 'id libvirt-qemu || useradd --system libvirt-qemu; id alice || useradd --system alice
        mkdir -p "$0/conf.d" "$0/tenants/alice" /srv/regions && >"$0/vhost-shmemd.conf"' "$etc"
    inside tee "$etc/conf.d/vm.conf" "$etc/tenants/alice/vhost-shmemd.conf" <"$examples/conf/vhost-shmemd.8.1"
    { region data && device data; } | inside tee "$etc/conf.d/data.conf"
    for block in "$examples"/unit/vhost-shmemd.8.*; do
        path=$(sed -n '1s/^# //p' "$block")
        inside bash -euc 'mkdir -p "${0%/*}" && cat >"$0"' "$path" <"$block"
    done
    inside systemctl daemon-reload
    for block in "$examples"/admin/vhost-shmemd.8.*; do
        inside bash -eu <"$block"
    done
    as_user libvirt-qemu vhost-shmemd
    front vm negotiate start expect-map flush stop
    front data negotiate start expect-map stop
    as_user alice alice
    front alice/vm negotiate start expect-map stop
    assert_equal "$(service_says ReadWritePaths)" /srv/regions
    inside id -nG libvirt-qemu | grep -qw vhost-shmemd
}
