#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# What a worker that has been taken over can still do: nothing. tests/canary/attack
# has the attacks, a test here is one group of them, and an attack that succeeds
# names itself. "tests/canary/attack --list" shows them all.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034

load helpers/common

# canary PROGRAM: the daemon will have it for its worker; a worker without a filter
# inherits none.
canary() {
    [[ $1 != canary-unfiltered ]] || SHMEMD=$top_builddir/tests/canary/shmemd-unfiltered
    SHMEMD_WORKER=$top_builddir/tests/canary/$1
    [[ -x $SHMEMD_WORKER ]] || fail "there is no $SHMEMD_WORKER: make check builds it"
}

# The log of a thousand attacks says little.
teardown() {
    if [[ -n ${daemon_pid:-} ]]; then
        stop_daemon TERM || fail "the daemon did not end as it should"
    fi
    if [[ -n ${private_dir:-} ]]; then
        rm -rf "$private_dir"
    fi
}

# attack GROUP [DAEMON ARG...]: of the profiles, one that offers all there is.
attack() {
    local group=$1
    shift
    # Whoever may dump core may, until the daemon's programs say otherwise.
    ulimit -S -c "$(ulimit -H -c)"
    # Its floods of descriptors are felt by all workers of their user: not by those
    # of the tests that run beside.
    ((EUID != 0)) || [[ " ${daemon_prefix[*]} " = *[a-z]* ]] || set -- --user=games "$@"
    start_daemon --front-end=rust-vmm --log-level=info "$@"
    require_worker_fd
    run "$top_srcdir/tests/canary/attack" --socket "$socket" --daemon "$daemon_pid" --log "$log" "$group"
    # The numbers, and what is still to be done, for who looks.
    grep '^# [^ ]' <<<"$output" >&3 || true
    ((status == 0)) || fail "$output"
}

@test "the programs that are installed are no canaries, and have no second way to load a filter" {
    require_tool nm
    local program
    for program in "$SHMEMD" "$SHMEMD_WORKER"; do
        nm "$program" >"$BATS_TEST_TMPDIR/symbols" 2>/dev/null || skip "nm cannot read $program"
        [[ -s $BATS_TEST_TMPDIR/symbols ]] || skip "$program has no symbols"
        run -0 grep -cE ' seccomp_load(@|$)' "$BATS_TEST_TMPDIR/symbols"
        run -1 grep -E 'canary|__wrap|__real' "$BATS_TEST_TMPDIR/symbols"
    done
}

@test "a canary serves a front-end as the worker does" {
    canary canary-worker
    start_daemon
    run -0 vuctl up flush stop
}

# --- the filter -------------------------------------------------------------------

@test "each system call that is not allowed kills" {
    canary canary-worker
    attack every-call
}

@test "each call by the table of another architecture kills" {
    [[ $(uname -m) = x86_64 ]] || skip "this CPU has one table"
    canary canary-worker
    attack other-tables
}

@test "each argument that is not allowed kills" {
    canary canary-worker
    attack every-argument
}

@test "what is allowed does no harm" {
    canary canary-worker
    attack allowed
}

@test "there is no way out" {
    canary canary-worker
    attack ways-out
}

@test "a worker gets nothing from its flusher but answers, and keeps nobody from getting theirs" {
    canary canary-worker
    (umask 077 && truncate -s 4M "$BATS_TEST_TMPDIR/region")
    attack to-the-flusher --region="shmid=0,file=$BATS_TEST_TMPDIR/region,size=4M,name=test"
}

# --- others -----------------------------------------------------------------------

@test "a worker gets nothing from the supervisor, and a malformed message ends it" {
    canary canary-worker
    attack to-the-supervisor
}

@test "a worker does nothing to other front-ends" {
    canary canary-worker
    attack to-other-front-ends
}

# --- below the filter -------------------------------------------------------------

@test "without the filter the layers below it hold" {
    require_root
    canary canary-unfiltered
    attack layers --sandbox=strict
}

@test "without the filter the layers of an ordinary user's worker hold" {
    canary canary-unfiltered
    as_ordinary_user
    attack layers --sandbox=strict
}

@test "with neither filter nor namespaces Landlock holds" {
    require_root
    canary canary-unfiltered
    daemon_prefix=(without_namespaces 'user pid net ipc uts cgroup mnt')
    attack without-namespaces
}
