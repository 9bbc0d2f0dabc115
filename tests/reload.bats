#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# A new configuration while front-ends are served: what is new, what stays, what
# ends, and that nothing happens if something is wrong with it.

# shellcheck disable=SC2154 # socket, log, conf, daemon_pid and stderr come from helpers and bats
# shellcheck disable=SC2030,SC2031 # each test is a shell of its own
# shellcheck disable=SC2016 # commands in single quotes are for the shell that vuctl starts
# shellcheck disable=SC2119 # start_daemon and the like without arguments

load helpers/common

setup() {
    common_setup
    cd "$BATS_TEST_TMPDIR" || return
    other=
    # For the shells of vuctl's step "run".
    export socket
}

teardown() {
    [[ -z $other ]] || kill "$other" 2>/dev/null || :
    common_teardown
}

# device NAME REGION KEYS...: a device at $socket.NAME
device() {
    echo "device $1 { socket = $socket.$1 shm 0 { region = $2 } ${*:3} }"
}

region() {
    echo "region $1 { size = 4M ${*:2} }"
}

start_one() {
    start_with_config < <(region r && device a r)
}

# What the supervisor and the builder have open, by its kind.
open_files() {
    local pid fd
    for pid in "$daemon_pid" "$(builder_pid)"; do
        for fd in "/proc/$pid"/fd/*; do
            readlink "$fd" || :
        done | sed -E 's/:\[.*//' | sort | uniq -c
    done
}

# A spare is there, and nothing else comes and goes.
is_at_rest() {
    status_is 's["spare_workers"]' 1 && has_workers "$((1 + $(status_of 'len(s["connections"])')))"
}

# Somebody has the lock of this file that others respect.
is_locked() {
    ! python3 -c 'import fcntl, sys; fcntl.lockf(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)' "$1" 2>/dev/null
}
export -f device region open_files is_at_rest is_locked

# --- what is new, and what stays -------------------------------------------------

@test "new devices and regions are there after a reload" {
    start_one
    run -0 reload_with < <(region r && device a r && region s && device b s && device c r)
    assert_output --partial '3 devices; 2 regions, 1 of them new'
    run -0 vuctl on b socket="$socket.b" up region-write 0 bb on a socket="$socket.a" up region-write 0 aa \
        on c socket="$socket.c" up region-read 0 aa on b region-read 0 bb
    assert_equal "$(status_of 's["generation"]')" 2
}

@test "SIGHUP reloads like vhost-shmemctl, and says in the log what there is" {
    start_one
    write_config < <(region r && device a r && device b r)
    kill -s HUP "$daemon_pid"
    assert_log 'info: reload: 2 devices; 1 regions, 0 of them new'
    run -0 vuctl on b socket="$socket.b" negotiate
}

@test "a region that has not changed keeps its memory, and a connection its region, size and worker" {
    start_one
    run -0 vuctl on a socket="$socket.a" up region-write 0x1000 c0ffee \
        run '(region r && device a r max-connections = 7 && device b r) | reload_with' \
        get-shmem-config regions=1 size=4M again=yes flush stop start expect-map region-read 0x1000 c0ffee \
        on b socket="$socket.b" up region-read 0x1000 c0ffee region-write 0x2000 bb on a region-read 0x2000 bb
    refute_log 'front-end left.*front-end left'
}

@test "what has changed is so for new connections alone" {
    start_one
    run -0 vuctl on a socket="$socket.a" up region-write 0 aa \
        run 'echo "region r { size = 8M } $(device a r)" | reload_with' \
        get-shmem-config size=4M again=yes stop start expect-map size=4M region-read 0 aa \
        on b socket="$socket.a" negotiate get-shmem-config size=8M start expect-map size=8M region-read 0 00
}

@test "max-connections and on-release of a region change without its memory" {
    start_one
    run -0 vuctl on a socket="$socket.a" up region-write 0 aa \
        run '(region r max-connections = 2 && device a r) | reload_with' \
        on b socket="$socket.a" up region-read 0 aa on c socket="$socket.a" expect-close
    run -0 reload_with < <(region r on-release = zero && device a r)
    assert_output --partial '0 of them new'
    run -0 vuctl on a socket="$socket.a" up region-read 0 aa hang-up
    assert_log 'region r: is erased'
    run -0 vuctl on a socket="$socket.a" up region-read 0 00
}

@test "other keys of a file that is served have to wait until nobody has it, and that is told" {
    truncate -s 4M file
    start_with_config <<<"$(region r; device b r) region f { file = $PWD/file } $(device a f)"
    run -0 vuctl on a socket="$socket.a" up backing=file flush \
        run '! (region r && device b r && echo "region g { file = $PWD/file sync = none }") | reload_with' flush \
        run '(region r && device b r) | reload_with' flush \
        run '! (region r && device b r && echo "region g { file = $PWD/file sync = none }") | reload_with' flush
    assert_log "region g: $PWD/file is a region already, f: "
    wait_until status_is 'len(s["regions"])' 1
    run -0 reload_with <<<"$(region r; device b r) region g { file = $PWD/file sync = none } $(device a g)"
    run -0 vuctl on a socket="$socket.a" up backing=file flush
    assert_equal "$(flusher_of "$PWD/file")" ""
}

@test "an image that was replaced is loaded anew, for new connections" {
    printf one >image
    start_with_config <<<"region r { image = $PWD/image } $(device a r)"
    printf two >image.new
    mv image.new image
    run -0 vuctl on a socket="$socket.a" up region-read 0 "$(printf one | xxd -p)" \
        run 'ctl reload' region-read 0 "$(printf one | xxd -p)" \
        on b socket="$socket.a" up region-read 0 "$(printf two | xxd -p)" \
        run 'ctl reload' on c socket="$socket.a" up region-read 0 "$(printf two | xxd -p)"
    # The third time there was nothing new.
    assert_log 'reload: 1 devices; 1 regions, 0 of them new'
}

# --- what ends --------------------------------------------------------------------

@test "a device that is removed listens no more, and its socket is gone" {
    start_with_config < <(region r && device a r && device b r)
    run -0 vuctl on b socket="$socket.b" up run '(region r && device a r) | reload_with' \
        run '[[ ! -e $socket.b ]]; wait_until bash -c "! grep -q \" $socket.b\$\" <(grep \" 00010000 \" /proc/net/unix)"' flush
    assert [ ! -e "$socket.b" ]
    wait_until status_is 'len(s["connections"])' 0
    run -0 vuctl on a socket="$socket.a" negotiate
    assert_equal "$(status_of '[d["name"] for d in s["devices"]]')" "['a']"
}

@test "what was removed goes with its last front-end: memory, file, lock and flusher" {
    truncate -s 4M file
    start_with_config <<<"$(region r; device a r; region gone; device b gone; device c file) region file { file = $PWD/file }"
    flusher=$(flusher_of "$PWD/file")
    export flusher
    run -0 vuctl on b1 socket="$socket.b" up on b2 socket="$socket.b" up on c socket="$socket.c" up backing=file flush \
        run '(region r && device a r) | reload_with' \
        run 'status_is "region(\"gone\", True)[\"connections\"]" 2' \
        on b1 region-write 0 aa hang-up on b2 region-read 0 aa flush on c flush \
        run 'status_is "device(\"b\", True)[\"connections\"]" 1' \
        run 'ls -l /proc/$daemon_pid/fd | grep -q memfd:vhost-shmemd:gone' \
        run 'ls -l /proc/$daemon_pid/fd | grep -q $PWD/file && is_locked file' \
        on b2 hang-up on c hang-up
    wait_until status_is 'len(s["regions"])' 1
    wait_until has_ended "$flusher"
    run bash -c "ls -l /proc/$daemon_pid/fd /proc/$(builder_pid)/fd | grep -E 'gone|$PWD/file'"
    assert_output ""
    run is_locked file
    assert_failure
}

@test "a removed region that nobody has goes at once, however many there are" {
    start_with_config < <(region r && device a r; for i in {1..600}; do
        truncate -s 4096 "f$i"
        echo "region g$i { file = $PWD/f$i sync = none }"
    done)
    run -0 reload_with < <(region r && device a r)
    wait_until status_is 'len(s["regions"])' 1
    wait_until bash -c "! ls -l /proc/$(builder_pid)/fd | grep -q $PWD/f"
    run -0 bash -c "ls -l /proc/$(builder_pid)/fd | grep -c $PWD/f || :"
    assert_output 0
    # They can be had again.
    run -0 reload_with < <(region r && device a r; for i in {1..600}; do
        echo "region h$i { file = $PWD/f$i sync = none }"
    done)
}

@test "a removed region with on-release = zero goes as well, and a new one of its name is empty" {
    start_with_config < <(region r on-release = zero && device a r)
    run -0 vuctl on a socket="$socket.a" up region-write 0 aa \
        run '(region s && device b s) | reload_with' region-read 0 aa
    wait_until status_is 'len(s["regions"])' 1
    run -0 reload_with < <(region r on-release = zero && device a r)
    run -0 vuctl on a socket="$socket.a" up region-read 0 00
}

# --- what is wrong ----------------------------------------------------------------

@test "a file with a mistake changes nothing, and the mistake is told with its line" {
    start_one
    before=$(open_files)
    run -0 vuctl on a socket="$socket.a" up region-write 0 aa
    run -1 reload_with < <(device a s && region r && device b r)
    assert_output --regexp "$conf:2: .*nothing was changed"
    assert_log "error: $conf:2: "
    write_config <<<'region r {'
    kill -s HUP "$daemon_pid"
    assert_log "error: $conf:[23]: "
    run -0 vuctl on a socket="$socket.a" up region-read 0 aa
    assert [ ! -e "$socket.b" ]
    assert_equal "$(status_of 's["generation"]')" 1
    wait_until is_at_rest
    assert_equal "$(open_files)" "$before"
}

@test "what cannot be made fails all of it, and leaves nothing behind" {
    truncate -s 4M there
    start_with_config <<<"$(region r; device a r) region there { file = $PWD/there }"
    wait_until is_at_rest
    before=$(open_files)
    python3 -c '
import socket, sys, signal
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
signal.pause()' "$socket.busy" 3>&- &
    other=$!
    wait_until test -S "$socket.busy"
    truncate -s 4M file
    run -1 reload_with < <(device new r && region r && region s && device a s &&
        echo "region f { file = $PWD/file }" && device busy f)
    assert_output --partial 'nothing was changed'
    assert_log "$socket.busy: another program is listening there"
    assert [ ! -e "$socket.new" ]
    # Something that is found out when the rest has been made.
    mkdir "$PWD/dir"
    mount -t tmpfs -o ro none "$PWD/dir" || rm -r "$PWD/dir"
    run -1 reload_with < <(device new r && region r && region s && device a s &&
        echo "region f { file = $PWD/file }" && echo "device busy { socket = $PWD/dir/s shm 0 { region = f } }")
    umount "$PWD/dir" || :
    assert_output --partial 'nothing was changed'
    assert [ ! -e "$socket.new" ]
    run -0 vuctl on a socket="$socket.a" negotiate
    wait_until is_at_rest
    assert_equal "$(open_files)" "$before"
    run is_locked file
    assert_failure
    assert_equal "$(flusher_of "$PWD/file")" ""
}

@test "without --config there is nothing to reload" {
    start_daemon --control-socket="$control"
    run -1 ctl reload
    assert_output --partial 'there is no configuration file to read'
    kill -s HUP "$daemon_pid"
    assert_log 'warn: reload: there is no configuration file'
    run -0 vuctl up flush
}

# --- sockets ------------------------------------------------------------------------

@test "a socket goes from one device to another, and two devices swap theirs" {
    start_with_config < <(region r && region s && device a r && device b s)
    run -0 vuctl on a socket="$socket.a" up region-write 0 aa on b socket="$socket.b" up region-write 0 bb
    run -0 reload_with <<EOF
$(region r; region s)
device a { socket = $socket.b shm 0 { region = r } }
device b { socket = $socket.a shm 0 { region = s } }
EOF
    run -0 vuctl on a socket="$socket.b" up region-read 0 aa on b socket="$socket.a" up region-read 0 bb
    run -0 reload_with <<<"$(region s) device c { socket = $socket.a shm 0 { region = s } }"
    run -0 vuctl on c socket="$socket.a" up region-read 0 bb
    assert [ ! -e "$socket.b" ]
    stop_daemon
    assert [ ! -e "$socket.a" ]
}

@test "the mode of a socket changes, and front-ends that are there stay" {
    start_one
    assert_equal "$(stat -c %a "$socket.a")" 600
    run -0 vuctl on a socket="$socket.a" up \
        run '(region r && device a r socket-mode = 0666) | reload_with' flush on b socket="$socket.a" up
    assert_equal "$(stat -c %a "$socket.a")" 666
}

@test "the control socket moves, to where a device's was, and back" {
    start_with_config < <(region r && device a r && device b r)
    old=$control
    printf 'control-socket = %s\n%s\n' "$socket.b" "$(region r; device a r)" >"$conf"
    run -0 ctl reload
    assert [ ! -e "$old" ]
    control=$socket.b run -0 ctl status
    control=$socket.b status_is 's["generation"]' 2
    printf 'control-socket = %s\n%s\n' "$old" "$(region r; device a r; device b r)" >"$conf"
    control=$socket.b run -0 ctl reload
    status_is 's["generation"]' 3
    run -0 vuctl on b socket="$socket.b" up
}

@test "control-socket = none closes it" {
    start_one
    before=$(fds_of "$daemon_pid")
    printf 'control-socket = none\n%s\n' "$(region r; device a r)" >"$conf"
    run -0 ctl reload
    wait_until test ! -e "$control"
    # Two that listen have become one.
    wait_until bash -c "[[ \$(grep -c ' 00010000 .* $BATS_TEST_TMPDIR/' /proc/net/unix) = 1 ]]"
    run -0 vuctl on a socket="$socket.a" up
}

# --- many ---------------------------------------------------------------------------

@test "two SIGHUPs in a row are both obeyed: the second finds what was written after the first" {
    start_one
    write_config < <(region r && device a r && device b r)
    kill -s HUP "$daemon_pid"
    kill -s HUP "$daemon_pid"
    wait_until log_has 'reload: 2 devices'
    write_config < <(region r && device c r)
    kill -s HUP "$daemon_pid"
    kill -s HUP "$daemon_pid"
    assert_log 'reload: 1 devices'
    run -0 vuctl on c socket="$socket.c" up
}

@test "SIGHUP while regions are filled: what is then in the file is what counts" {
    start_one
    write_config < <(region r && echo "region big { size = 2G prealloc = yes }" && device a r)
    kill -s HUP "$daemon_pid"
    # They take as long as it takes to look at the others.
    wait_until pkill -STOP -P "$(builder_pid)"
    write_config < <(region r && device b r)
    kill -s HUP "$daemon_pid"
    # Meanwhile the others are served.
    run -0 vuctl on a socket="$socket.a" up flush
    pkill -CONT -P "$(builder_pid)"
    wait_until log_has 'reload: 1 devices; 2 regions, 1 of them new'
    wait_until log_has 'reload: 1 devices; 1 regions, 0 of them new'
    run -0 vuctl on b socket="$socket.b" up flush
    assert_equal "$(status_of '[r["name"] for r in s["regions"]]')" "['r']"
}

@test "who waited while the rules changed is asked by the new ones" {
    start_one
    # After two crashes in a row its process is held back for a second.
    run -0 vuctl on a socket="$socket.a" up run 'kill -KILL $(worker_of 1); wait_until log_has "conn 1: worker .* killed"' \
        on b socket="$socket.a" up run 'kill -KILL $(worker_of 2); wait_until log_has "conn 2: worker .* killed"' \
        on c socket="$socket.a" connect run 'wait_until log_has "held back for 1 s"
            (region r && device a r allow-user = 4711) | reload_with' expect-close
    assert_log 'device a: a front-end was refused: .*allow-user'
    refute_log 'conn 3: front-end connected'
}

@test "50 reloads leave no descriptor, no process and no memory behind" {
    truncate -s 4M file
    first="$(region r; region s; device a r; device b s; device c f) region f { file = $PWD/file }"
    second="$(region r; region t; device a r; device b t socket-mode = 0660; device d f) region f { file = $PWD/file max-connections = 3 }"
    start_with_config <<<"$first"
    run -0 vuctl on a socket="$socket.a" up
    local i before memory
    for ((i = 0; i < 25; i++)); do
        reload_with <<<"$second" >/dev/null
        reload_with <<<"$first" >/dev/null
        if ((i == 4)); then
            wait_until is_at_rest
            before=$(open_files)
            memory=$(status_field "$(builder_pid)" VmRSS)
        fi
    done
    status_is 's["generation"]' 51
    wait_until is_at_rest
    assert_equal "$(open_files)" "$before"
    assert_equal "$(pgrep -c -P "$(builder_pid)")" 1
    # A sanitizer keeps what was freed.
    ! is_sanitized || return 0
    local now
    now=$(status_field "$(builder_pid)" VmRSS)
    ((${now% kB} < ${memory% kB} + 300)) || fail "the builder has grown from $memory to $now"
}
