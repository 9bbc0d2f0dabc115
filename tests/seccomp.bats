#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# What the seccomp filters are on each CPU: tests/seccomp/CPU/FILTER.pfc.
# shellcheck disable=SC2154 # top_srcdir and top_builddir are of helpers

load helpers/common

# export_lists: all of them, in $lists; $version is that of libseccomp.
export_lists() {
    lists=$BATS_TEST_TMPDIR/lists
    mkdir "$lists"
    run "$top_builddir/tests/seccomp/export" "$lists"
    ((status != 77)) || skip 'the lists of an instrumented build are wider'
    assert_success
    version=$output
}

# calls FILE: the names of the calls that a list allows, a line each.
calls() {
    awk '/# filter for syscall/ { call = $5 } /action ALLOW/ { print call }' "$1" | tr -d '"' | sort -u
}

@test "the list of each process on each CPU is as it was reviewed" {
    export_lists
    # Others may write the same otherwise, and know other calls.
    [[ $version = 'libseccomp 2.5.'* ]] || skip "$version"
    local cpu
    for cpu in "$lists"/*; do
        run diff -ru "$top_srcdir/tests/seccomp/${cpu##*/}" "$cpu"
        [[ $status = 0 ]] || fail "$output
If this is what was meant: make update-seccomp, and read what git diff shows."
    done
}

@test "no list has more calls than was promised, on any CPU" {
    export_lists
    local cpu worker supervisor flusher n=0
    for cpu in "$lists"/*; do
        worker=$(calls "$cpu/worker.pfc" | wc -l)
        supervisor=$(calls "$cpu/supervisor.pfc" | wc -l)
        flusher=$(calls "$cpu/flusher.pfc" | wc -l)
        echo "# ${cpu##*/}: worker $worker, supervisor $supervisor, flusher $flusher" >&3
        ((flusher > 10 && flusher <= 22))
        ((worker > 10 && worker <= 24))
        ((supervisor > 10 && supervisor <= 45))
        n=$((n + 1))
    done
    assert_equal "$n" 7
}

@test "no worker, no flusher and no supervisor can open, start or connect to anything, on any CPU" {
    export_lists
    local list
    for list in "$lists"/*/{worker,flusher,supervisor}.pfc; do
        run -0 calls "$list"
        # The supervisor's is for one option of sockets that it has.
        [[ $list != */supervisor.pfc ]] || output=$(grep -vx setsockopt <<<"$output")
        # A worker's is for one question about sockets: SIOCOUTQ.
        if [[ $list = */worker.pfc ]]; then
            # shellcheck disable=SC2016 # for sed
            run -0 sed -n '/"ioctl"/,/action/s/.*\$a1\(.lo32\)* == \(.....\)).*/\2/p' "$list"
            assert_output 21521
            run -0 calls "$list"
            output=$(grep -vx ioctl <<<"$output")
        fi
        mapfile -t lines <<<"$output"
        refute_line --regexp '^(open|creat|exec|fork|vfork|clone|socket$|connect|bind|ptrace|process_|pidfd|io_uring|ioctl|memfd|mount|set([^i]|i[^t])|bpf|userfaultfd|perf|key|mprotect|prctl|prlimit)'
    done
}
