#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# As many devices and regions as a large host has. tests/bench/start measures it.

# shellcheck disable=SC2154 # socket, log, conf, daemon_pid and stderr come from helpers and bats
# shellcheck disable=SC2030,SC2031 # each test is a shell of its own
# shellcheck disable=SC2016 # commands in single quotes are for the shell that vuctl starts

load helpers/common

setup() {
    common_setup
    cd "$BATS_TEST_TMPDIR" || return
}

# many DEVICES REGIONS: the configuration, without its line of the control socket.
many() {
    "$top_srcdir/tests/bench/many-devices" "$PWD" "$1" "$2" | tail -n +2
}

@test "200 devices with 2000 regions are served, each by its socket" {
    local d r steps=()
    (($(ulimit -Hn) > 4500)) || skip "too few descriptors are allowed: $(ulimit -Hn)"
    start_with_config < <(many 200 10)
    assert_equal "$(status_of 'len(s["devices"]), len(s["regions"])')" '(200, 2000)'
    for ((d = 0; d < 200; d++)); do
        steps+=(on "c$d" socket="$PWD/$d" negotiate order=rust-vmm get-shmem-config regions=10 size=64K shmid=9)
        if ((d % 20 == 7)); then
            steps+=(start)
            for ((r = 0; r < 10; r++)); do steps+=(expect-map "shmid=$r" "name=r$d.$r"); done
            steps+=(region-write 0 "$(printf %02x "$d")" shmid=9)
        fi
    done
    for ((d = 7; d < 200; d += 20)); do
        steps+=(on "c$d" region-read 0 "$(printf %02x "$d")" shmid=9)
    done
    run -0 vuctl "${steps[@]}" run 'status_is "len(s[\"connections\"])" 200'
    wait_until status_is 'len(s["connections"])' 0
    # And all others again.
    run -0 reload_with < <(many 100 10)
    assert_output '100 devices; 1000 regions, 0 of them new'
    wait_until status_is 'len(s["regions"])' 1000
    (($(fds_of "$daemon_pid") < 2200))
}

# limited SOFT HARD: the daemon may have so many descriptors.
limited() {
    many 200 10 | write_config
    run -1 timeout "$VUCTL_TIMEOUT" prlimit --nofile="$1:$2" "$SHMEMD" --worker="$SHMEMD_WORKER" \
        --config="$conf" --log-level=error
}

@test "with too low a limit of descriptors the start is refused, and the limit named" {
    require_tool prlimit
    limited 1024 1024
    assert_output --partial 'RLIMIT_NOFILE is 1K (LimitNOFILE='
    assert [ ! -e 0 ]
    # One that is just too low for the last of them.
    local least
    for least in 2000 4000 4100 4200 4205 4215 4300; do
        limited "$least" "$least"
        assert_output --regexp 'RLIMIT_NOFILE .*\(?LimitNOFILE='
    done
}

@test "the limit that counts is the hard one" {
    require_tool prlimit
    (($(ulimit -Hn) > 4500)) || skip "too few descriptors are allowed: $(ulimit -Hn)"
    # shellcheck disable=SC2034 # start_with_config reads it
    daemon_prefix=(prlimit --nofile=256:)
    start_with_config < <(many 50 10)
    run -0 vuctl on a socket="$PWD/49" negotiate order=rust-vmm start expect-map name=r49.0 expect-map shmid=1 \
        expect-map shmid=2 expect-map shmid=3 expect-map shmid=4 expect-map shmid=5 expect-map shmid=6 \
        expect-map shmid=7 expect-map shmid=8 expect-map shmid=9
}

@test "a reload that needs more descriptors than are allowed changes nothing" {
    require_tool prlimit
    # shellcheck disable=SC2034 # start_with_config reads it
    daemon_prefix=(prlimit --nofile=300:300)
    start_with_config < <(many 5 10)
    run -1 reload_with < <(many 30 10)
    assert_output --partial 'nothing was changed'
    assert_log 'RLIMIT_NOFILE .*\(?LimitNOFILE='
    run -0 vuctl on a socket="$PWD/4" negotiate order=rust-vmm
    assert [ ! -e 5 ]
    assert_equal "$(status_of 'len(s["regions"]), s["generation"]')" '(50, 1)'
}
