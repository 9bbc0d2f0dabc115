#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The command line: what it takes and what it refuses, before any socket is made.

# shellcheck disable=SC2154 # socket, log, daemon_pid and stderr come from helpers and bats

load helpers/common

# --- asking the program about itself ----------------------------------------

@test "--help names every option on stdout" {
    run -0 --separate-stderr "$SHMEMD" --help
    for option in socket-path fd device region front-end user once log-level \
        print-capabilities print-seccomp help version; do
        assert_output --partial "--$option"
    done
    assert_equal "$stderr" ""
}

@test "--version prints the name and a version" {
    run -0 "$SHMEMD" --version
    assert_output --regexp '^vhost-shmemd [0-9]+\.[0-9]+'
}

@test "the worker answers --version too, or refuses to run by hand" {
    run timeout "$VUCTL_TIMEOUT" "$SHMEMD_WORKER" --version </dev/null
    if ((status == 0)); then
        assert_output --regexp '[0-9]+\.[0-9]+'
    else
        assert_equal "$status" 1
        assert_output --partial vhost-shmemd
    fi
}

@test "--print-capabilities prints valid JSON of type pmem" {
    run -0 --separate-stderr "$SHMEMD" --print-capabilities
    python3 -m json.tool <<<"$output" >/dev/null
    run -0 python3 -c 'import json, sys; print(json.load(sys.stdin)["type"])' <<<"$output"
    assert_output pmem
}

@test "--print-capabilities does nothing else, whatever options stand beside it" {
    run -0 "$SHMEMD" --print-capabilities
    expected=$output
    run -0 --separate-stderr "$SHMEMD" --region shmid=999,size=3Q --socket-path="$socket" \
        --fd=77 --print-capabilities --device=toaster
    assert_output "$expected"
    assert [ ! -e "$socket" ]
}

# --- the two forms ----------------------------------------------------------

@test "options are taken as --option=value" {
    start_daemon --region=shmid=0,size=8M --front-end=qemu --device=pmem --log-level=info
    run -0 vuctl negotiate get-shmem-config regions=1 size=8M
}

@test "options are taken as --option value" {
    start_daemon --region shmid=0,size=8M --front-end qemu --device pmem --log-level info
    run -0 vuctl negotiate get-shmem-config regions=1 size=8M
}

@test "a size may be given in bytes, K, M and G" {
    for size in 4194304 4096K 4M; do
        start_daemon --region "shmid=0,size=$size"
        run -0 vuctl negotiate get-shmem-config size=4M
        stop_daemon
    done
    start_daemon --region shmid=0,size=1G
    run -0 vuctl negotiate get-shmem-config size=1G
}

@test "--region takes its parts in any order" {
    start_daemon --region name=order,size=2M,shmid=0
    run -0 vuctl negotiate start expect-map size=2M name=order
}

# --- sizes that cannot be ------------------------------------------------------

refuses_size() {
    refuses "$2" --region "shmid=0,size=$1"
}

@test "a size of 0 is refused" {
    refuses_size 0 'size'
}

@test "a negative size is refused" {
    refuses_size -4M 'size'
}

@test "an empty size is refused" {
    refuses_size '' 'size'
}

@test "a size that is no number is refused" {
    refuses_size big 'size'
}

@test "a size that QEMU would abort on is refused, and the nearest good one is named" {
    refuses_size 3M '4M'
}

@test "a size that is no power of two is fine for rust-vmm" {
    start_daemon --front-end=rust-vmm --region shmid=0,size=6M
    run -0 vuctl negotiate get-shmem-config size=6M
}

@test "a size that is no multiple of the page size is refused, with the nearest good one" {
    refuses_size 5000 '2M'
}

@test "a size too small for the guest's pmem driver is refused, with the smallest good one" {
    refuses_size 1M '2M'
}

@test "a size larger than any memory is refused" {
    refuses_size 99999999T 'size'
}

@test "a size that overflows 64 bits is refused" {
    refuses_size 99999999999999999999 'size'
}

@test "an unknown unit is refused" {
    refuses_size 1Q 'size'
}

@test "text behind the unit is refused" {
    refuses_size 64MB 'size'
}

@test "a size given twice is refused" {
    refuses 'size' --region shmid=0,size=64M,size=32M
}

@test "a part of a region without its value is refused" {
    refuses 'size' --region shmid=0,size=64M,size=
    refuses 'size' --region shmid=0,size
    refuses 'image' --region shmid=0,size=4M,image=
}

# --- regions that cannot be ------------------------------------------------------

@test "no region at all is refused" {
    refuses 'region' --no-region
}

@test "an empty region is refused" {
    refuses 'region' --region ''
}

@test "a region without size and image is refused" {
    refuses 'size' --region shmid=0
}

@test "a shmid given twice is refused" {
    refuses 'shmid' --region shmid=0,size=2M --region shmid=0,size=2M
}

@test "a shmid above 255 is refused" {
    refuses 'shmid' --region shmid=256,size=4M
}

@test "a shmid that is no number is refused" {
    refuses 'shmid' --region shmid=one,size=4M
}

@test "a pmem device with another shmid than 0 is refused" {
    refuses 'shmid' --region shmid=1,size=4M
}

@test "an unknown part of a region is refused by its name" {
    refuses 'colour' --region shmid=0,size=4M,colour=blue
}

@test "a region name that could confuse a reader of the log is refused" {
    refuses 'name' --region $'shmid=0,size=4M,name=a\nb'
    refuses 'name' --region shmid=0,size=4M,name=a/b
    refuses 'name' --region shmid=0,size=4M,name=
}

# --- images ------------------------------------------------------------------

@test "a missing image is refused by its name" {
    refuses 'no-such-image' --region "shmid=0,size=4M,image=$BATS_TEST_TMPDIR/no-such-image"
}

@test "an image larger than the region is refused" {
    truncate -s 5M "$BATS_TEST_TMPDIR/image"
    refuses 'image' --region "shmid=0,size=4M,image=$BATS_TEST_TMPDIR/image"
}

@test "an empty image is refused" {
    : >"$BATS_TEST_TMPDIR/image"
    refuses 'image' --region "shmid=0,image=$BATS_TEST_TMPDIR/image"
}

@test "a directory as an image is refused" {
    refuses "$BATS_TEST_TMPDIR" --region "shmid=0,size=4M,image=$BATS_TEST_TMPDIR"
}

@test "a FIFO as an image is refused, and nobody waits for a writer" {
    mkfifo "$BATS_TEST_TMPDIR/fifo"
    refuses 'fifo' --region "shmid=0,size=4M,image=$BATS_TEST_TMPDIR/fifo"
}

# --- access --------------------------------------------------------------------

refuses_access() {
    truncate -s 2M "$BATS_TEST_TMPDIR/image"
    refuses "$1" --region "shmid=0,image=$BATS_TEST_TMPDIR/image,$2" "${@:3}"
}

@test "a read-only region is refused for QEMU, which writes, and the fallback is named" {
    refuses_access 'region shm0: access=read-only: --front-end=qemu maps no memory but what it can write; with read-only-fallback=copy each' \
        access=read-only
    refuses_access 'read-only-fallback=copy' access=read-only --front-end=qemu
}

@test "a read-only region without an image is refused" {
    refuses 'image=' --front-end=rust-vmm --region shmid=0,size=2M,access=read-only
    refuses 'image=' --region shmid=0,size=2M,access=read-only,read-only-fallback=copy
}

@test "an unknown access is refused, and the known ones are named" {
    refuses_access 'access=ro: it is read-write or read-only' access=ro
    refuses_access 'access' access=
}

@test "an unknown fallback, or one of a writable region, is refused" {
    refuses_access 'read-only-fallback=share' access=read-only,read-only-fallback=share
    refuses_access 'access=read-only' read-only-fallback=copy
    refuses_access 'access=read-only' access=read-write,read-only-fallback=copy --front-end=crosvm
}

# --- everything else ------------------------------------------------------------

@test "neither --socket-path nor --fd is refused" {
    run -1 --separate-stderr timeout "$VUCTL_TIMEOUT" "$SHMEMD" --region shmid=0,size=4M
    [[ $stderr =~ socket-path ]]
}

@test "--socket-path together with --fd is refused" {
    refuses 'fd' --socket-path="$socket" --fd=0
}

@test "an empty socket path is refused" {
    refuses 'socket-path' --socket-path=
}

@test "a socket path that does not fit into an address is refused" {
    refuses 'long' --socket-path="$BATS_TEST_TMPDIR/$(printf 'x%.0s' {1..120})"
}

@test "a socket path in a missing directory is refused by its name" {
    refuses 'no-such-dir' --socket-path="$BATS_TEST_TMPDIR/no-such-dir/socket"
}

@test "an fd that is no number is refused" {
    refuses 'fd' --fd=three
}

@test "an unknown device is refused by its name" {
    refuses 'toaster' --device=toaster
}

@test "an unknown front-end is refused by its name, and the known ones are named" {
    refuses 'netscape' --front-end=netscape
    for name in qemu rust-vmm crosvm; do
        [[ $stderr == *"$name"* ]] || fail "$name is not named: $stderr"
    done
}

@test "an unknown user is refused by its name" {
    refuses 'no-such-user-here' --user=no-such-user-here
}

@test "root as the user of the workers is refused" {
    require_root
    refuses 'root' --user=root
}

@test "an unknown log level is refused by its name" {
    refuses 'chatty' --log-level=chatty
}

@test "an unknown option is refused" {
    refuses 'frobnicate' --frobnicate
}

@test "an option without its value is refused" {
    refuses 'log-level' --log-level
}

@test "surplus arguments are refused" {
    refuses 'surplus' surplus
}

@test "a worker program that is not there is refused before the socket appears" {
    refuses 'no-such-worker' --worker="$BATS_TEST_TMPDIR/no-such-worker"
}
