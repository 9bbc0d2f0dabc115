#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Every lie that a front-end can tell, and what it may cost: tests/hostile has
# the cases, a test here is one group of them, and a case that fails names
# itself. "tests/hostile --list" shows them all. After each case the
# descriptors, workers and maps of supervisor and bystanders are counted.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034

load helpers/common

# hostile GROUP [DAEMON ARG...]: of the profiles, one that offers all there is.
hostile() {
    local group=$1 args=()
    shift
    start_daemon --front-end=rust-vmm --log-level=info "$@"
    require_worker_fd
    if is_sanitized; then
        args=(--sanitized)
    fi
    run "$top_srcdir/tests/hostile" --socket "$socket" --daemon "$daemon_pid" --log "$log" \
        "${args[@]}" "$group"
    # The numbers, and what is still to be done, for who looks.
    grep '^#' <<<"$output" >&3 || true
    # The log of a thousand cases says little; teardown looks for sanitizers.
    ((status == 0)) || fail "$output"
}

sanitizer_expected=no

teardown() {
    if [[ -n ${huge_pages_before:-} ]]; then
        echo "$huge_pages_before" >/proc/sys/vm/nr_hugepages
    fi
    if [[ -n ${daemon_pid:-} ]]; then
        stop_daemon TERM || fail "the daemon did not end as it should"
    fi
    [[ -e $log ]] || return 0
    if grep -E -A 30 '(Address|Leak|Thread|Memory)Sanitizer|runtime error:' "$log" &&
        [[ $sanitizer_expected = no ]]; then
        fail "a sanitizer complains"
    fi
}

# --- messages -------------------------------------------------------------------

@test "each request as it should be is served, and each that is absent is refused" {
    hostile served
}

@test "payloads of another size end the connection" {
    hostile payload-size
}

@test "headers that announce 4097 bytes to 4 GiB - 1 end the connection" {
    hostile payload-huge
}

@test "descriptors too many, too few or in the wrong place end the connection" {
    hostile fd-count
}

@test "descriptors of another kind are refused" {
    hostile fd-kind
}

@test "other versions, reserved flags and replies end the connection" {
    hostile header-flags
}

@test "requests whose feature was not negotiated are refused" {
    hostile not-negotiated
}

@test "requests at the wrong time are refused or served, and cost nothing" {
    hostile wrong-state
}

@test "values that cannot be are refused" {
    hostile bad-value
}

@test "each request may come twice" {
    hostile twice
}

@test "requests that do not exist end the connection" {
    hostile unknown
}

@test "each request may come byte by byte" {
    hostile in-pieces
}

@test "half a message and then nothing ends the connection, and nobody waits for it" {
    hostile half --message-timeout=1
}

# --- memory ---------------------------------------------------------------------

@test "memory tables that cannot be are refused" {
    hostile memory-table
}

@test "rings that do not lie in the memory are not served, and a new start works" {
    hostile ring-address
}

@test "memory that vanishes costs one worker, and the log says why" {
    # It reports the signal that ends the worker.
    sanitizer_expected=yes
    hostile memory-vanishes
}

@test "guest memory may be in huge pages, and pages that are not there cost one worker" {
    local free
    free=$(sed -n 's/^HugePages_Free: *//p' /proc/meminfo)
    if ((${free:-0} < 6)); then
        require_root
        [[ -w /proc/sys/vm/nr_hugepages ]] || skip "there are no huge pages"
        huge_pages_before=$(</proc/sys/vm/nr_hugepages)
        echo $((huge_pages_before + 8)) >/proc/sys/vm/nr_hugepages || skip "there are no huge pages"
        free=$(sed -n 's/^HugePages_Free: *//p' /proc/meminfo)
        ((free >= 6)) || skip "there are $free free huge pages, 6 are needed"
    fi
    sanitizer_expected=yes
    hostile huge-pages
}

@test "a ring that changes while it is read costs nothing but itself" {
    hostile racing-ring
}

# --- migration ------------------------------------------------------------------

@test "inflight buffers may hold anything, and cost a ring at most" {
    hostile inflight
}

@test "device states that no device had are refused, and those that do not end wait" {
    hostile device-state
}

# --- the back-end channel ---------------------------------------------------------

@test "what comes back for a SHMEM_MAP costs the channel at most" {
    hostile channel-answer
}

@test "channels that are other sockets cost the channel at most" {
    hostile channel-socket
}

@test "event descriptors that block hold up nobody" {
    hostile blocking-fd
}

# --- floods ---------------------------------------------------------------------

@test "who writes and does not read waits, and costs neither memory nor CPU" {
    hostile flood
}
