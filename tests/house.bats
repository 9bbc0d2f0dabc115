#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The rules of the house, which tests/lint checks, can be broken: each of these
# plants what must not be and looks whether that is found.
# shellcheck disable=SC2154 # output

load helpers/common

setup() {
    tree=$BATS_TEST_TMPDIR/tree
    mkdir "$tree"
    (cd "$top_srcdir" && find proto sandbox tools daemon \( -name '*.[ch]' -o -name '*.def' \) -exec cp --parents -t "$tree" {} +)
    chmod -R u+w "$tree"
}

# planted FILE LINE: what tests/includes says of the tree with this line more.
planted() {
    printf '%s\n' "$2" >>"$tree/$1"
    run -1 "$top_srcdir/tests/includes" "$tree"
}

@test "includes: nothing crosses" {
    run -0 "$top_srcdir/tests/includes" "$tree"
    assert_output ''
}

@test "includes: a process that includes another's header is found" {
    planted daemon/supervisor/served.c '#include "daemon/worker/worker.h"'
    assert_output --partial 'daemon/supervisor/served.c includes "daemon/worker/worker.h"'
    planted daemon/worker/pmem.h '  #  include "daemon/config/settings.h"'
    assert_output --partial 'daemon/worker/pmem.h includes "daemon/config/settings.h"'
}

@test "includes: a supervisor that could parse what a front-end sends is found" {
    planted daemon/supervisor/gate.c '#include "proto/channel.h"'
    assert_output --partial 'daemon/supervisor/gate.c includes "proto/channel.h"'
}

@test "includes: a library that knows what uses it is found" {
    planted proto/mem.c '#include "daemon/common/log.h"'
    assert_output --partial 'proto/mem.c includes "daemon/common/log.h"'
    planted sandbox/caps.c '#include "proto/fd.h"'
    assert_output --partial 'sandbox/caps.c includes "proto/fd.h"'
    planted daemon/common/priv.c '#include "daemon/config/settings.h"'
    assert_output --partial 'daemon/common/priv.c includes "daemon/config/settings.h"'
}

@test "includes: a header that is named by another path than that from the top is found" {
    planted daemon/worker/raw.c '#include "raw.h"'
    assert_output --partial 'daemon/worker/raw.c includes "raw.h", which is no path'
}

@test "includes: a folder without a rule, and a file in no folder, are found" {
    mkdir "$tree/daemon/attic"
    planted daemon/attic/a.c 'int a;'
    assert_output --partial 'daemon/attic is in no rule'
    planted daemon/b.c 'int b;'
    assert_output --partial 'daemon/b.c is in no process'
}
