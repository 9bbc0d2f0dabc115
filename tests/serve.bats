#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Many devices and regions: who gets what, who gets in, and what becomes of
# memory.

# shellcheck disable=SC2154 # socket, log, conf, daemon_pid and stderr come from helpers and bats
# shellcheck disable=SC2030,SC2031 # each test is a shell of its own
# shellcheck disable=SC2016 # commands in single quotes are for the shell that vuctl starts
# shellcheck disable=SC2119 # start_daemon and the like without arguments

load helpers/common

setup() {
    common_setup
    cd "$BATS_TEST_TMPDIR" || return
    huge=
}

teardown() {
    # The pages go back when nobody has them any more.
    if [[ -n ${daemon_pid:-} && -n $huge ]]; then
        stop_daemon
    fi
    if [[ -n $huge ]]; then
        echo "$huge" >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
        exec 9<&-
    fi
    common_teardown
}

# device NAME REGION KEYS...: a device at $socket.NAME
device() {
    echo "device $1 { socket = $socket.$1 shm 0 { region = $2 } ${*:3} }"
}

region() {
    echo "region $1 { size = 4M ${*:2} }"
}

raw_up=(negotiate start)

# --- devices and regions --------------------------------------------------------

@test "devices that have one region share it, and those of another do not" {
    start_with_config <<<"$(region r; region s; device a r; device b r; device c s)"
    run -0 vuctl on a socket="$socket.a" up region-write 0x1000 c0ffee on b socket="$socket.b" up region-read 0x1000 c0ffee \
        on c socket="$socket.c" up region-read 0x1000 000000 region-write 0x1000 dddddd on a region-read 0x1000 c0ffee
}

@test "100 devices of two kinds are served at once, each by its own socket" {
    local i steps=()
    start_with_config < <(for ((i = 0; i < 100; i += 2)); do
        region "r$i"
        device "d$i" "r$i"
        region "r$((i + 1))"
        device "d$((i + 1))" "r$((i + 1))" type = raw
    done)
    for ((i = 0; i < 100; i++)); do
        steps+=(on "c$i" socket="$socket.d$i" negotiate start expect-map name="r$i" region-write 0 "$(printf %02x "$i")")
    done
    for ((i = 0; i < 100; i++)); do
        steps+=(on "c$i" region-read 0 "$(printf %02x "$i")")
    done
    run -0 vuctl "${steps[@]}"
    assert_equal "$(status_of 'len(s["connections"]) + len(s["devices"]) + len(s["regions"])')" 200
}

@test "a raw device has its regions where its configuration says, its queues and its bytes" {
    printf '\001\002\003' >bytes
    start_with_config <<EOF
$(region r; region s)
region t { size = 8M }
device d {
    socket = $socket type = raw virtio-id = 63 queues = 3 config = "de ad be ef 00 01"
    shm 0 { region = r } shm 3 { region = s } shm 9 { region = t }
}
device e { socket = $socket.e type = raw config-file = $PWD/bytes shm 7 { region = t } }
EOF
    run -0 vuctl negotiate queues=3 get-shmem-config sizes=0:4M,3:4M,9:8M get-config size=6 data=deadbeef0001 \
        start expect-map shmid=0 name=r expect-map shmid=3 name=s expect-map shmid=9 name=t \
        region-write 0 77 shmid=9 \
        on e socket="$socket.e" negotiate get-shmem-config sizes=7:8M get-config size=3 data=010203 \
        start expect-map shmid=7 name=t region-read 0 77 shmid=7
}

@test "two shmids of one device can be one region" {
    start_with_config <<EOF
region r { size = 4M on-release = zero max-connections = 2 }
device d { socket = $socket type = raw shm 1 { region = r } shm 2 { region = r } }
EOF
    run -0 vuctl "${raw_up[@]}" expect-map shmid=1 expect-map shmid=2 region-write 5 aa shmid=1 region-read 5 aa shmid=2
    assert_log 'region r: is erased'
    # It counts a front-end once.
    run -0 vuctl on a "${raw_up[@]}" expect-map shmid=1 expect-map shmid=2 region-read 5 00 shmid=1 \
        on b "${raw_up[@]}" expect-map shmid=1 expect-map shmid=2 on c expect-close
    wait_until log_has 'conn 3: front-end left'
    # Erased once for each time that nobody has it.
    wait_until bash -c "[[ \$(grep -c 'region r: is erased' $log) = 2 ]]"
}

# --- access ---------------------------------------------------------------------

# A device that writes, and one that reads.
start_reader() {
    for_all_users
    start_with_config <<EOF
$(region r)
device w { socket = $socket socket-mode = 0666 shm 0 { region = r } }
device d { socket = $socket.d socket-mode = 0666 front-end = rust-vmm shm 0 { region = r access = read-only } }
EOF
}

reader=(negotiate order=rust-vmm start expect-map access=read-only backing=shared)

@test "a front-end that may read what others write sees it, and cannot write by any means" {
    start_reader
    run -0 vuctl up region-write 0 aa
    run -0 vuctl_as 1234 on d socket="$socket.d" "${reader[@]}" region-read 0 aa expect-unwritable \
        on w up region-write 0 bb on d region-read 0 bb
}

@test "root, and who has started the daemon, are refused what they shall only read of what others write" {
    start_reader
    run -0 vuctl on d socket="$socket.d" expect-close on w up
    assert_log "device d: a front-end was refused: pid [0-9]+ \(.*python.*\), uid 0: its user could open for writing"
}

@test "of a region that is read-only for everybody also root gets no way to write" {
    echo image >image
    start_with_config <<EOF
region r { image = $PWD/image access = read-only }
region f { file = $PWD/file create = yes size = 4M access = read-only }
device d { socket = $socket front-end = crosvm shm 0 { region = r } }
EOF
    run -0 vuctl negotiate start expect-map access=read-only region-is image expect-unwritable
}

@test "with copy each front-end has its own, and the region stays as it is" {
    echo image >image
    start_with_config <<EOF
region r { image = $PWD/image access = read-only }
device a { socket = $socket.a shm 0 { region = r access = copy } }
device b { socket = $socket.b shm 0 { region = r read-only-fallback = copy } }
device c { socket = $socket.c front-end = rust-vmm shm 0 { region = r read-only-fallback = copy } }
EOF
    run -0 vuctl on a1 socket="$socket.a" up region-is image region-write 0 aaaa \
        on a2 socket="$socket.a" up region-is image on b socket="$socket.b" up region-is image region-write 0 bbbb \
        on a1 region-read 0 aaaa \
        on c socket="$socket.c" negotiate order=rust-vmm start expect-map access=read-only region-is image
}

@test "a region that is a file: what guests write is in it, also after the daemon" {
    truncate -s 4M file
    start_with_config <<<"region r { file = $PWD/file } region m { file = $PWD/made create = yes size = 2M } $(device a r; device b m)"
    run -0 vuctl on a socket="$socket.a" up backing=file region-write 0x100 c0ffee flush \
        on b socket="$socket.b" up backing=file region-write 0 aa flush
    stop_daemon
    assert_equal "$(xxd -s 0x100 -l 3 -p file)$(xxd -l 1 -p made)$(stat -c %s.%a made)" c0ffeeaa2097152.600
    start_with_config <<<"region r { file = $PWD/file } $(device a r)"
    run -0 vuctl on a socket="$socket.a" up backing=file region-read 0x100 c0ffee
}

# --- who gets in ------------------------------------------------------------------

@test "a socket has the owner, group and mode that its keys say" {
    require_root
    start_with_config <<<"$(region r; device a r; device b r socket-owner = 1234 socket-group = daemon socket-mode = 0660)"
    assert_equal "$(stat -c '%u %g %a' "$socket.a")" "0 0 600"
    assert_equal "$(stat -c '%u %G %a' "$socket.b")" "1234 daemon 660"
}

# allowed UID ARG...: a front-end of this user, with more arguments of setpriv.
allowed() {
    setpriv --reuid="$1" "${@:2}" "$top_srcdir/tests/vuctl" --socket "$socket" up
}

@test "allow-user and allow-group let in whom they name, also by a supplementary group" {
    for_all_users
    start_with_config <<<"$(region r) device d { socket = $socket socket-mode = 0666 shm 0 { region = r }
        allow-user = { 1001, daemon } allow-group = { 2002 } }"
    run -0 allowed 1001 --regid=1 --clear-groups
    run -0 allowed "$(id -u daemon)" --regid=1 --clear-groups
    run -0 allowed 1003 --regid=2002 --clear-groups
    run -0 allowed 1003 --regid=1 --groups=77,2002,99
    run -1 allowed 1003 --regid=1 --groups=77,99
    run -1 allowed 2002 --regid=1001 --clear-groups
    # Root is a user like others.
    run -1 allowed 0 --regid=0 --clear-groups
    assert_log "device d: a front-end was refused: pid [0-9]+ \(.*python.*\), uid 1003: neither its user nor a group"
    assert_equal "$(status_of 'device("d")["refused"]')" 3
}

@test "a refusal names the process, its user and its program" {
    start_with_config <<<"$(region r; device a r allow-user = 4711)"
    run -0 vuctl on a socket="$socket.a" expect-close
    # By its path, or where that is not for the builder to see by its name.
    assert_log "warn: device a: a front-end was refused: pid [0-9]+ \([^ ]*python3[^ ]*\), uid $EUID: "
}

@test "many refusals make one line a second, and the rest is counted" {
    start_with_config <<<"$(region r; device a r allow-user = 4711)"
    local i steps=()
    for ((i = 0; i < 50; i++)); do steps+=(on a socket="$socket.a" expect-close hang-up); done
    # The line that counts the others comes with one that is refused in another second.
    run -0 vuctl "${steps[@]}" run 'sleep 1.1' on a socket="$socket.a" expect-close
    assert_equal "$(status_of 'device("a")["refused"]')" 51
    assert_log 'device a: [0-9]+ more were refused'
    (($(grep -c 'a front-end was refused' "$log") < 20)) || fail "too many lines"
}

@test "max-connections of a device holds for it alone, and the next gets in when one leaves" {
    start_with_config <<<"$(region r; device a r max-connections = 2; device b r)"
    run -0 vuctl on 1 socket="$socket.a" up on 2 socket="$socket.a" up on 3 socket="$socket.a" expect-close \
        on b socket="$socket.b" up on 1 flush hang-up on 2 \
        run 'wait_until status_is "device(\"a\")[\"connections\"]" 1' on 4 socket="$socket.a" up on 2 flush
    assert_log 'device a: a front-end was refused: .*: the device has its 2 connections \(max-connections\)'
}

@test "max-connections of a region is of all devices together" {
    start_with_config <<<"$(region r max-connections = 2; region s; device a r; device b r; device c s)"
    run -0 vuctl on a socket="$socket.a" up on b socket="$socket.b" up on a2 socket="$socket.a" expect-close \
        on b2 socket="$socket.b" expect-close on c socket="$socket.c" up on a hang-up on b \
        run 'wait_until status_is "region(\"r\")[\"connections\"]" 1' on b3 socket="$socket.b" up
    assert_log 'region r has its 2 connections \(max-connections\)'
}

# --- on-release -----------------------------------------------------------------------

@test "with on-release = keep the next front-end finds what the last has left" {
    start_with_config <<<"$(region r; device a r; device b r)"
    run -0 vuctl on a socket="$socket.a" up region-write 0 aa
    run -0 vuctl on b socket="$socket.b" up region-read 0 aa
}

@test "with on-release = zero the next front-end finds zeros, when the last of all devices has left" {
    start_with_config <<<"$(region r on-release = zero; device a r; device b r)"
    run -0 vuctl on a socket="$socket.a" up region-write 0x3ffff0 aa on b socket="$socket.b" up \
        on a hang-up on b run 'wait_until status_is "region(\"r\")[\"connections\"]" 1' region-read 0x3ffff0 aa
    run -0 vuctl on a socket="$socket.a" up region-read 0x3ffff0 00 region-is /dev/null
    assert_log 'region r: is erased'
}

@test "zero keeps the memory, and discard gives it back" {
    start_with_config <<<"$(region z on-release = zero; region d on-release = discard; device z z; device d d)"
    local name
    for name in z d; do
        run -0 vuctl on $name socket="$socket.$name" up region-write 0 aa region-write 1M aa region-write 2M aa
    done
    wait_until status_is 'region("d")["resident"]' 0
    (($(status_of 'region("z")["resident"]') >= 12288))
    for name in z d; do
        run -0 vuctl on $name socket="$socket.$name" up region-is /dev/null
    done
}

@test "who connects while a region is erased waits, gets in and finds zeros; others do not wait" {
    start_with_config <<<"region big { size = 2G on-release = zero prealloc = yes } $(region r; device a big; device b r)"
    run -0 vuctl on a socket="$socket.a" up region-write 0x1000 aa region-write 2G-4096 bb \
        run 'kill -STOP $(builder_pid)' hang-up \
        run 'wait_until log_has "region big: is erased"' \
        on c socket="$socket.a" send id=GET_FEATURES on b socket="$socket.b" up flush \
        run '! log_has "conn 2: .*device a"; kill -CONT $(builder_pid)' \
        on c expect-reply up region-read 0x1000 00 region-read 2G-4096 00
    assert_log 'waits until its region has been erased'
}

# --- one connection's limits ------------------------------------------------------------

@test "message-timeout and without are each device's own" {
    start_with_config <<<"$(region r; device a r message-timeout = 1; device b r 'without = { packed, in-order }')"
    run -0 vuctl on b socket="$socket.b" get-features offered=SHMEM_REGION,INDIRECT,EVENT_IDX,PROTOCOL_FEATURES,VERSION_1
    run -0 vuctl on a socket="$socket.a" raw 0100 on b socket="$socket.b" raw 0100 \
        on a expect-close on b raw 000001000000 raw 00000000 expect-reply id=GET_FEATURES size=8
    assert_log 'half a message, and no more for 1 s'
}

# --- memory ------------------------------------------------------------------------------

# has_huge N: so many huge pages of 2M are free, for this test.
has_huge() {
    require_root
    [[ -w /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages ]] || skip "there are no huge pages"
    exec 9</sys/kernel/mm/hugepages
    flock -w 60 9 || skip "huge pages are in use"
    huge=$(</sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages)
    echo "$((huge + $1))" >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
    (($(</sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages) == huge + $1)) || skip "there are not enough huge pages"
}

free_huge() {
    cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages
}

@test "hugepages = 2M: the region has huge pages, reserved at start, and zeros after the last front-end" {
    has_huge 4
    start_with_config <<<"region r { size = 8M hugepages = 2M on-release = discard } $(device a r)" 9<&-
    assert_equal "$(status_of 'region("r")["huge_page"]')" 2097152
    assert_equal "$(($(</sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages) >= 4 || $(free_huge) == 0))" 1
    run -0 vuctl on a socket="$socket.a" up region-write 0 aa region-write 8M-1 bb flush
    run -0 vuctl on a socket="$socket.a" up region-is /dev/null
}

@test "too few huge pages are an error that says so" {
    has_huge 1
    write_config <<<"region r { size = 8M hugepages = 2M } $(device a r)"
    run -1 "$SHMEMD" --worker="$SHMEMD_WORKER" --config="$conf" 9<&-
    assert_output --regexp 'region r: .*huge ?pages'
    assert [ ! -e "$socket.a" ]
}

@test "numa-node, prealloc and lock: the memory is there at start, and locked by the builder" {
    start_with_config <<<"region n { size = 8M numa-node = 0 } region p { size = 8M prealloc = yes }
        region l { size = 8M lock = yes } region r { size = 8M } $(device n n; device p p; device l l; device r r)"
    assert_equal "$(status_of '[region(n)["resident"] for n in "plr"]')" '[8388608, 8388608, 0]'
    # A sanitizer makes mlock() do nothing.
    is_sanitized || assert_equal "$(status_field "$(builder_pid)" VmLck)" '8192 kB'
    local name
    for name in n p l r; do
        run -0 vuctl on a socket="$socket.$name" up region-is /dev/null region-write 0 aa flush
    done
}

@test "an image is served if it has the SHA-256 that is told, and not otherwise" {
    head -c 3M /dev/urandom >image
    sum=$(sha256sum <image)
    start_with_config <<<"region r { image = $PWD/image sha256 = ${sum%% *} } $(device a r)"
    run -0 vuctl on a socket="$socket.a" up region-is image
    stop_daemon
    printf x | dd of=image bs=1 seek=1000000 conv=notrunc status=none
    run -1 "$SHMEMD" --worker="$SHMEMD_WORKER" --config="$conf"
    assert_output --regexp 'region r: .*image'
    assert_output --partial "$(sha256sum <image | cut -c 1-64)"
    assert [ ! -e "$socket.a" ]
}

# --- files --------------------------------------------------------------------------------

@test "a file that becomes longer or shorter is told in the log and by status" {
    truncate -s 4M file short
    start_with_config <<<"region r { file = $PWD/file } region s { file = $PWD/short } region t { size = 4M } $(device a r; device b s; device c t)"
    assert_equal "$(status_of '[region(n)["size_changed"] for n in "rst"]')" '[False, False, False]'
    truncate -s 5M file
    assert_log "warn: region r: $PWD/file became 5242880 bytes from 4194304"
    wait_until status_is '[region(n)["size_changed"] for n in "rst"]' '[True, False, False]'
    truncate -s 1M short
    assert_log "error: region s: $PWD/short became 1048576 bytes from 4194304: .*SIGBUS"
    wait_until status_is '[region(n)["size_changed"] for n in "rst"]' '[True, True, False]'
}

@test "a file that is moved is told, and its size has not changed" {
    truncate -s 4M file
    start_with_config <<<"region r { file = $PWD/file } $(device a r)"
    mv file elsewhere
    assert_log "warn: region r: $PWD/file was moved or deleted"
    run -0 vuctl on a socket="$socket.a" up backing=file flush
    assert_equal "$(status_of 'region("r")["size_changed"]')" False
}

@test "a file that another daemon has as a region is refused, and left alone" {
    truncate -s 4M file
    start_with_config <<<"region r { file = $PWD/file } $(device a r)"
    run -1 "$SHMEMD" --worker="$SHMEMD_WORKER" --socket-path="$socket" --region "shmid=0,file=$PWD/file"
    assert_output --partial "$PWD/file is locked by another program"
    run -0 vuctl on a socket="$socket.a" up backing=file region-write 0 aa flush
}

@test "two that only read a file can have it" {
    truncate -s 4M file
    start_with_config <<<"region r { file = $PWD/file access = read-only } $(device a r front-end = crosvm)"
    "$SHMEMD" --worker="$SHMEMD_WORKER" --socket-path="$socket" --front-end=crosvm --region "shmid=0,file=$PWD/file,access=read-only" >other.log 2>&1 3>&- &
    other=$!
    wait_until test -S "$socket"
    run -0 vuctl negotiate start expect-map access=read-only backing=file
    kill "$other"
    wait "$other"
}
