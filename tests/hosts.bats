#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Hosts that permit less than others: no root, containers, systemd's hardening.
# In each the daemon serves, and the log says which layers of a worker's
# confinement there are; --sandbox=strict refuses where one is missing.
# shellcheck disable=SC2154,SC2034 # daemon_pid, log and daemon_prefix are of helpers
# shellcheck disable=SC2016 # commands in single quotes are for the shell that vuctl starts
# shellcheck disable=SC2054 # lists with commas are for contain

load helpers/common

NAMESPACES='PID namespace, network namespace, IPC namespace, UTS namespace, cgroup namespace, empty root'

setup_file() {
    local dir=${BATS_TEST_DIRNAME}/helpers status=77
    if ((EUID == 0)); then
        status=0
        "$dir/under-systemd" -- /bin/true || status=$?
    fi
    export SYSTEMD_STATUS=$status
}

# The daemon may be in namespaces where it has another number, and a network
# namespace that has a list of sockets of its own.
is_ready() {
    has_ended "$daemon_pid" || log_has "listening on $socket\$"
}

contain=$BATS_TEST_DIRNAME/helpers/contain

# on_host PREFIX...: what comes next is started by this. The programs and the
# socket are where everybody can reach them.
on_host() {
    if [[ -z ${private_dir:-} ]]; then
        as_ordinary_user
        ((EUID != 0)) || chmod 1777 "$private_dir"
    fi
    daemon_prefix=("$@")
}

as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
((EUID == 0)) || as_user=()

# serves LAYERS ARG...: with these layers, as the log has them.
serves() {
    local layers=$1
    shift
    start_daemon "$@"
    assert_log "filter loaded \([0-9]+ rules\), $layers\$"
    run -0 vuctl up flush stop
    ends_well
}

# It ends as it is told to, on slow hosts too.
ends_well() {
    kill -s TERM "$daemon_pid"
    has_ended_well
}

has_ended_well() {
    local pid=$daemon_pid status=0
    daemon_pid=
    wait_until has_ended "$pid" || fail "it did not end"
    wait "$pid" || status=$?
    assert_equal "$status" 0
    refute_log 'killed by'
}

# does_not_start REGEX ARG...: it says this and ends.
does_not_start() {
    local regex=$1
    shift
    run -1 --separate-stderr timeout "$VUCTL_TIMEOUT" "${daemon_prefix[@]}" "$SHMEMD" --socket-path="$socket" \
        --worker="$SHMEMD_WORKER" --region=shmid=0,size=4M "$@"
    assert_regex "$stderr" "$regex"
    assert [ ! -e "$socket" ]
}

# all_layers: strict is content. lacks FIRST LAYERS: it is not, and says
# why; without it is served, and the log has the list.
all_layers() {
    serves 'all layers' --sandbox=strict
}
lacks() {
    serves "without: $2"
    does_not_start "error: spare: sandbox: $1: " --sandbox=strict
}

# --- without root -----------------------------------------------------------------

@test "without root in any map of users all layers are there" {
    on_host unshare --user --map-user=1000 --map-group=1000
    all_layers
}

@test "a user without a number in the user namespace is served without namespaces" {
    on_host "${as_user[@]}" unshare --user
    lacks 'PID namespace' "$NAMESPACES, user namespace"
}

@test "an ordinary user who may make no user namespace is served without namespaces" {
    on_host "${as_user[@]}" "$contain" --error-if=EPERM:unshare:0:0x10000000 --error-if=EPERM:clone:0:0x10000000 --
    lacks 'PID namespace' "$NAMESPACES, user namespace"
}

# --- containers -------------------------------------------------------------------

# What container runtimes give root and what their filters deny, unless told
# otherwise.
runtime_caps=chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,audit_write,setfcap
runtime_denies=(
    --error=EPERM:unshare,setns,mount,umount2,pivot_root,mount_setattr,move_mount,open_tree,fsopen
    --error=EPERM:bpf,keyctl,add_key,request_key,perf_event_open,open_by_handle_at,sethostname,setdomainname,userfaultfd
    --error=ENOSYS:clone3 --error-if=EPERM:clone:0:0x7e020000
)
runtime_namespaces=--new=mount,pid,net,ipc,uts,cgroup
rootless=(--map=0:65534:1 --map=1:100000:65536)

@test "in a container, as root and its first process" {
    require_root
    on_host "$contain" "$runtime_namespaces" "${runtime_denies[@]}" --caps="$runtime_caps" --
    lacks 'PID namespace' "$NAMESPACES, user namespace"
}

@test "in a container, as an ordinary user" {
    require_root
    on_host "$contain" "$runtime_namespaces" "${runtime_denies[@]}" -- "${as_user[@]}"
    lacks 'PID namespace' "$NAMESPACES, user namespace"
}

@test "in a container that has CAP_SYS_ADMIN, which its filter heeds" {
    require_root
    on_host "$contain" "$runtime_namespaces" --caps="$runtime_caps,sys_admin" --
    all_layers
}

@test "in a container whose filter lets user namespaces pass, as root" {
    require_root
    on_host "$contain" "$runtime_namespaces" --caps="$runtime_caps" --
    lacks 'PID namespace' "$NAMESPACES"
}

@test "in a container whose filter lets user namespaces pass, as an ordinary user" {
    require_root
    on_host "$contain" "$runtime_namespaces" -- "${as_user[@]}"
    all_layers
}

@test "in a container of an ordinary user, as its root" {
    require_root
    on_host "$contain" "${rootless[@]}" "$runtime_namespaces" --caps="$runtime_caps" --
    lacks 'PID namespace' "$NAMESPACES"
}

@test "in a container of an ordinary user, as its root, where no user namespace may be below" {
    require_root
    on_host "$contain" "${rootless[@]}" "$runtime_namespaces" --limit=user:0 --caps="$runtime_caps" --
    lacks 'PID namespace' "$NAMESPACES, user namespace"
}

@test "in a container of an ordinary user, as its root with all capabilities, where no user namespace may be below" {
    require_root
    on_host "$contain" "${rootless[@]}" "$runtime_namespaces" --limit=user:0 --
    lacks 'user namespace' 'user namespace'
}

@test "in a container of an ordinary user, as another than its root" {
    require_root
    on_host "$contain" "${rootless[@]}" "$runtime_namespaces" -- setpriv --reuid=1000 --regid=1000 --clear-groups
    all_layers
}

@test "in a container that has no user but root, it says which one is missing" {
    require_root
    on_host "$contain" --map=0:65534:1 --
    does_not_start 'sandbox: ids: user [0-9]+, group [0-9]+: not in this user namespace'
}

@test "in a chroot" {
    require_root
    local root=$BATS_TEST_TMPDIR/root dir mounts=()
    for dir in usr etc dev proc tmp; do
        mkdir -p "$root/$dir"
        mounts+=("--mount=/$dir:$root/$dir")
    done
    for dir in bin lib lib64; do
        if [[ -L /$dir ]]; then
            ln -s "usr/$dir" "$root/$dir"
        elif [[ -d /$dir ]]; then
            mkdir "$root/$dir"
            mounts+=("--mount=/$dir:$root/$dir")
        fi
    done
    TMPDIR=/tmp
    on_host "$contain" --new=mount "${mounts[@]}" --root="$root" --
    lacks 'empty root' 'empty root, user namespace'
}

# --- kernels and filters -------------------------------------------------------------

@test "a kernel that does not know Landlock" {
    on_host "$contain" --error=ENOSYS:landlock_create_ruleset --
    lacks Landlock Landlock
}

@test "a kernel that has Landlock switched off" {
    on_host "$contain" --error=EOPNOTSUPP:landlock_create_ruleset --
    lacks Landlock Landlock
}

@test "a kernel that does not know memory that cannot be executed" {
    on_host "$contain" --error-if=EINVAL:memfd_create:1:0x8 --
    export VUCTL_NO_SEAL_EXEC=1
    all_layers
}

@test "a host whose filter permits none of ours is named as such" {
    on_host "$contain" --error=EPERM:seccomp --
    does_not_start 'the spawner: seccomp filter: Operation not permitted$'
}

@test "root without the capabilities that it takes is told which" {
    require_root
    on_host "$contain" --caps=kill,setpcap,sys_admin --
    does_not_start 'by root without CAP_SETGID, CAP_SETUID:'
    on_host "$contain" --caps=setgid,setuid,setpcap,sys_admin --
    does_not_start 'by root without CAP_KILL:'
    on_host "$contain" --caps= --
    does_not_start 'by root without CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP:'
}

# --- a service of systemd ---------------------------------------------------------------

# What the manual of systemd has for a service that serves local sockets.
hardening=(
    NoNewPrivileges=yes MemoryDenyWriteExecute=yes LockPersonality=yes
    RestrictAddressFamilies=AF_UNIX RestrictRealtime=yes RestrictSUIDSGID=yes
    SystemCallArchitectures=native PrivateDevices=yes PrivateNetwork=yes
    ProtectSystem=strict ProtectHome=yes ProtectProc=invisible ProcSubset=pid
    ProtectClock=yes ProtectHostname=yes ProtectControlGroups=yes
    ProtectKernelLogs=yes ProtectKernelModules=yes ProtectKernelTunables=yes
    UMask=0077 LimitNOFILE=1024
)
caps='CapabilityBoundingSet=CAP_KILL CAP_SETGID CAP_SETPCAP CAP_SETUID'
# Filters of systemd kill, unless there is a SystemCallErrorNumber.
calls='SystemCallFilter=@system-service seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self'

# as_service SETTING...: what comes next is a service with these settings.
as_service() {
    ((SYSTEMD_STATUS == 0)) || skip "no systemd can be started here"
    on_host
    on_host "$BATS_TEST_DIRNAME/helpers/under-systemd" "${hardening[@]}" "BindPaths=$private_dir" "$@" --
}

@test "a hardened service, as root" {
    as_service "$caps CAP_SYS_ADMIN" "$calls @mount"
    all_layers
}

@test "a hardened service, as a user" {
    as_service CapabilityBoundingSet= User=nobody "$calls @mount"
    all_layers
}

@test "a hardened service, as a dynamic user" {
    as_service CapabilityBoundingSet= DynamicUser=yes "$calls @mount"
    all_layers
}

@test "a hardened service, as a dynamic user in a user namespace" {
    as_service CapabilityBoundingSet= DynamicUser=yes PrivateUsers=yes "$calls @mount"
    all_layers
}

@test "a hardened service, as root without CAP_SYS_ADMIN" {
    as_service "$caps" "$calls @mount"
    lacks 'PID namespace' "$NAMESPACES"
}

@test "a hardened service that may make no namespace, as root" {
    as_service "$caps CAP_SYS_ADMIN" "$calls @mount" RestrictNamespaces=yes
    lacks 'PID namespace' "$NAMESPACES, user namespace"
}

@test "a hardened service that may make no namespace, as a dynamic user" {
    as_service CapabilityBoundingSet= DynamicUser=yes "$calls @mount" RestrictNamespaces=yes
    lacks 'PID namespace' "$NAMESPACES, user namespace"
}

@test "a hardened service whose filter denies mounts and Landlock" {
    as_service "$caps CAP_SYS_ADMIN" 'SystemCallFilter=@system-service seccomp' SystemCallErrorNumber=EPERM
    lacks 'empty root' 'empty root, Landlock'
}

@test "a hardened service whose filter denies filters" {
    as_service "$caps CAP_SYS_ADMIN" 'SystemCallFilter=@system-service' SystemCallErrorNumber=EPERM
    does_not_start 'the spawner: seccomp filter: Operation not permitted$'
}

@test "a hardened service whose filter kills what it denies says so" {
    sigsys_expected=yes
    as_service "$caps CAP_SYS_ADMIN" 'SystemCallFilter=@system-service'
    does_not_start "the spawner: killed by SIGSYS, by its seccomp filter or the host's"
    as_service "$caps CAP_SYS_ADMIN" 'SystemCallFilter=@system-service seccomp'
    does_not_start "the supervisor's sandbox: killed by SIGSYS, by its seccomp filter or the host's"
}

@test "systemctl stop, which ends all processes at once, gives front-ends their time" {
    as_service CapabilityBoundingSet= DynamicUser=yes "$calls" RestrictNamespaces=yes SystemCallErrorNumber=EPERM
    start_daemon
    run -0 vuctl up run 'kill -s TERM $daemon_pid; wait_until log_has "ending on SIGTERM"' flush stop
    has_ended_well
}
