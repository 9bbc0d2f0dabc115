#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# What tests/run-all counts in the logs of its steps, and what --quick runs.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034

load helpers/common

# counts PASSED FAILED SKIPPED: what the log on standard input has.
counts() {
    cat >"$BATS_TEST_TMPDIR/step.log"
    run -0 "$top_srcdir/tests/run-all" --count "$BATS_TEST_TMPDIR/step.log"
    assert_output "$1 passed, $2 failed, $3 skipped"
}

@test "results of automake and of TAP are counted alike" {
    counts 3 2 2 <<END
make[1]: Entering directory '/build'
PASS: tests/unit/test_map 1 a map is sent
FAIL: tests/map.bats 1 a map is answered
SKIP: tests/map.bats 2 a map of huge pages # SKIP there are none
1..4
ok 1 a guest boots
ok 2 a guest is slow
ok 3 a guest has nested paging # skip no KVM
not ok 4 a guest reboots
END
}

@test "a failed test is one failure, with the ERROR of its file" {
    counts 1 1 0 <<END
PASS: tests/map.bats 1 a map is answered
FAIL: tests/map.bats 2 an unmap is answered
ERROR: tests/map.bats - exited with status 1
END
}

@test "two failed tests of a file are two failures" {
    counts 0 2 0 <<END
FAIL: tests/map.bats 1 a map is answered
FAIL: tests/map.bats 2 an unmap is answered
ERROR: tests/map.bats - exited with status 1
END
}

@test "a file that has ended before its tests had is one failure" {
    counts 2 2 0 <<END
PASS: tests/map.bats 1 a map is answered
ERROR: tests/map.bats - too few tests run (expected 30, got 1)
ERROR: tests/map.bats - exited with status 139 (terminated by signal 11?)
ERROR: tests/unit/test_map - missing test plan
PASS: tests/ring.bats 1 a ring starts
END
}

@test "an ERROR is counted though another file's test has failed" {
    counts 0 2 0 <<END
ERROR: tests/ring.bats - missing test plan
FAIL: tests/map.bats 1 a map is answered
ERROR: tests/map.bats - exited with status 1
END
}

@test "the logs that make check prints again are not counted again" {
    counts 3 1 1 <<END
PASS: tests/map.bats 1 a map is answered
FAIL: tests/map.bats 2 an unmap is answered
ERROR: tests/map.bats - exited with status 1
SKIP: tests/map.bats 3 a map of huge pages # SKIP there are none
========================================
   vhost-shmemd 1.0: ./test-suite.log
========================================

# TOTAL: 4

FAIL: tests/map
===============

1..3
ok 1 a map is answered
PASS: tests/map.bats 1 a map is answered
not ok 2 an unmap is answered
FAIL: tests/map.bats 2 an unmap is answered
ok 3 a map of huge pages # skip there are none
SKIP: tests/map.bats 3 a map of huge pages # SKIP there are none
ERROR: tests/map.bats - exited with status 1
============================================================================
Testsuite summary for vhost-shmemd 1.0
============================================================================
# TOTAL: 4
ok 1 device states
PASS: tests/ring.bats 1 a ring starts
END
}

@test "a log without results counts nothing" {
    counts 0 0 0 <<END
make: *** No rule to make target 'check'.  Stop.
END
}

@test "a change of any source has bats files that --quick runs for it" {
    local file name names files
    # shellcheck source=tests/run-all
    source "$top_srcdir/tests/run-all"
    files=$(find proto sandbox daemon tools man -name '*.[ch1578]')
    while read -r file; do
        names=$(touched <<<"$file")
        [[ -n $names ]] || fail "nothing is run for $file"
        for name in $names; do
            [[ -e tests/$name.bats ]] || fail "tests/$name.bats, for $file, does not exist"
        done
    done <<<"$files"
}

@test "each step has a budget" {
    run -0 "$top_srcdir/tests/run-all" --list
    local step list=$output
    # shellcheck source=tests/run-all
    source "$top_srcdir/tests/run-all"
    for step in $list "${quick_steps[@]}"; do
        ((budget[$step] > 0)) || fail "$step has none"
        [[ $(type -t "step_$step") = function ]] || fail "there is no such step: $step"
    done
}
