#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# The manual pages say what the program does, and the other way round.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034,SC2013

load helpers/common

manual=$top_srcdir/man/vhost-shmemd.8
frontends=$top_srcdir/man/vhost-shmemd-frontends.7
security=$top_srcdir/man/vhost-shmemd-security.7

@test "the manual has every option of --help, and no other" {
    run -0 "$SHMEMD" --help
    local help page
    help=$(grep -oE '^  --[a-z-]+' <<<"$output" | tr -d ' ' | sort)
    page=$(sed -n 's/^\.It Fl -\([a-z-]*\).*/--\1/p' "$manual" | sort)
    [[ -n $help ]]
    assert_equal "$page" "$help"
}

@test "the synopsis of the manual names every option" {
    run -0 "$SHMEMD" --help
    local option synopsis
    synopsis=$(sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$manual")
    for option in $(grep -oE '^  --[a-z-]+' <<<"$output" | tr -d ' '); do
        # mdoc: Fl -help | -version
        grep -qE -- "(Fl | )-${option#--}( |$)" <<<"$synopsis" || fail "$option is not in the synopsis"
    done
}

@test "--help names every profile, level and default that the manual names" {
    run -0 "$SHMEMD" --help
    assert_output --partial 'qemu (default), rust-vmm, crosvm'
    assert_output --partial 'error, warn, info (default) or debug'
    assert_output --partial 'pmem (default), or raw'
    grep -qE '^\.Bl -tag -width rust-vmm-0.16' "$manual"
    local profile
    for profile in $(sed -n '/-width rust-vmm-0.16/,/^\.El/s/^\.It Cm //p' "$manual"); do
        run "$SHMEMD" "--front-end=$profile" --region shmid=0,size=1 --socket-path=/x
        refute_output --partial 'no such profile'
    done
}

# profiles: the names that --front-end takes, one per line.
profiles() {
    local text
    text=$("$SHMEMD" --front-end=none --region=shmid=0,size=2M --socket-path=/x 2>&1) || true
    [[ $text =~ 'no such profile: '(.*)' are known' ]]
    tr -d ' ' <<<"${BASH_REMATCH[1]}" | tr , '\n' | sort
}

@test "both pages have every profile of --front-end, and no other" {
    local known
    known=$(profiles)
    assert_equal "$(sed -n '/-width rust-vmm-0.16/,/^\.El/s/^\.It Cm //p' "$manual" | sort)" "$known"
    assert_equal "$(sed -n '/^\.Sh PROFILES/,/^\.Sh WHAT/s/^\.It Cm //p' "$frontends" | sort)" "$known"
}

@test "the page on front-ends shows of each profile what the programs answer" {
    run -0 "$top_srcdir/tests/what-works" --profiles --check
}

@test "the page on security has the system calls that the programs have" {
    is_sanitized && skip 'the lists of an instrumented build are wider'
    [[ $(uname -m) = x86_64 ]] || skip 'the list of the manual is that of amd64'
    run -0 "$top_srcdir/tests/what-works" --calls --check
}

# column N SECTION: the cells of a table in a section of the page on security.
column() {
    sed -n "/^\.Sh $2\$/,/^\.Sh /p" "$security" | grep -v '^\.It Sy' | sed -n 's/^\.It //p' |
        awk -F ' Ta ' -v n="$1" 'NF > 1 { print $n }'
}

@test "the page on security has every capability that is kept, and no other" {
    local kept
    kept=$(sed -nE 's/^\t(CAP_[A-Z_]+),.*/\1/p' "$top_srcdir/sandbox/parents.c")
    [[ $kept = CAP_KILL* ]]
    assert_equal "$(column 2 CAPABILITIES)" "$kept"
}

@test "the page on security has every message between the processes, and no other" {
    local messages
    messages=$(sed -n '/^enum priv_type/,/^}/p' "$top_srcdir/daemon/priv.h" |
        sed -nE '/_END/d; s/^\tPRIV_([A-Z_]+).*/\1/p' | sort)
    [[ $messages = ASK* ]]
    assert_equal "$(column 1 PROCESSES | sort)" "$messages"
}

@test "the page on security has every layer of the sandbox, and no other" {
    local layers
    layers=$(sed -nE 's/^\t\t\[LAYER_.*\] = "(.*)",/\1/p' "$top_srcdir/sandbox/layers.h")
    [[ $layers = 'PID namespace'* ]]
    assert_equal "$(sed -n '/^\.Sh LAYERS/,/^\.Sh /s/^\.It //p' "$security")" "$layers"
}

# results OUTCOME PREFIX: as if dialects.bats had run, with OUTCOME for the tests
# whose titles begin with PREFIX, in the words of automake's log.
results() {
    sed -n 's/^@test "\(.*\)" {$/\1/p' "$top_srcdir/tests/dialects.bats" | nl -w1 -s' ' |
        sed -E "s/^/PASS: tests\/dialects.bats /; s/^PASS(.* [0-9]+ $2)/$1\1/"
}

@test "what a test shows that has passed is in the table of what works, and nothing else" {
    local results=$BATS_TEST_TMPDIR/results
    results PASS 'rfc: several' >"$results"
    run -0 "$top_srcdir/tests/what-works" "$results"
    assert_line --regexp '^\.It several regions Ta .* wire$'
    run -0 "$top_srcdir/tests/what-works" --check "$results"
    assert_line --regexp '^ok .* of rfc$'
    assert_line --regexp '^ok .* of rust-vmm # skip'
    local outcome
    for outcome in FAIL SKIP; do
        results "$outcome" 'rfc: several' >"$results"
        run -0 "$top_srcdir/tests/what-works" "$results"
        refute_output --partial 'several regions'
        run -1 "$top_srcdir/tests/what-works" --check "$results"
        assert_line --regexp '^not ok .* of rfc$'
        assert_line --regexp '^# claimed,.*: several-regions$'
    done
    # It failed in one build and passed in another.
    results FAIL 'rfc: several' >"$results"
    results PASS 'rfc: several' | sed 's/^PASS: [^ ]*/ok/' >>"$results"
    run -1 "$top_srcdir/tests/what-works" --check "$results"
}

# recipe FILE: its QEMU command, on one line.
recipe() {
    sed -n '/^qemu-system-x86_64/,/\.\.\.$/{s/\\e\?$//;p}' "$1" | tr -s ' \n' ' '
}

@test "the recipe for QEMU is the same everywhere, and what the guest tests run" {
    local text
    text=$(recipe "$frontends")
    [[ $text = qemu-system-x86_64* ]]
    assert_equal "$(recipe "$manual")" "$text"
    assert_equal "$(recipe "$top_srcdir/README.md")" "$text"
    # Names, paths and the size of the memory may differ, nothing else.
    run -0 python3 - "$top_srcdir/tests/guest/vm" "$text" <<'END'
import importlib.machinery, importlib.util, shlex, sys

sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("vm", sys.argv[1])
vm = importlib.util.module_from_spec(importlib.util.spec_from_loader("vm", loader))
loader.exec_module(vm)
args = vm.parser().parse_args(["start", "a", "--socket", "/x"])

def options(words, wanted):
    """The options of our device and its memory, as sets of parameters."""
    for option, value in zip(words, words[1:]):
        what, *parameters = value.split(",")
        if (option, what) in wanted:
            yield option, what, frozenset(
                text for text in parameters
                if text.partition("=")[0] not in ("id", "path", "size", "chardev"))

recipe = shlex.split(sys.argv[2])
wanted = {(option, value.split(",")[0]) for option, value in zip(recipe, recipe[1:])
          if option in ("-M", "-object", "-device")}
assert len(wanted) == 3, wanted
mine, tested = (set(options(words, wanted)) for words in (recipe, vm.qemu_arguments(args)))
assert mine == tested, f"the recipe: {mine}\nthe guest tests: {tested}"
END
}

@test "the recipe for libvirt is XML, with the arguments of the one for QEMU" {
    run -0 python3 - "$frontends" "$(recipe "$frontends")" <<'END'
import re, shlex, sys, xml.etree.ElementTree as xml

domain = xml.fromstring(re.search(r"<domain.*</domain>", open(sys.argv[1]).read(), re.S)[0])
args = [arg.get("value") for arg in
        domain.iter("{http://libvirt.org/schemas/domain/qemu/1.0}arg")]
recipe = shlex.split(sys.argv[2])
assert args == recipe[recipe.index("-chardev"):-1], args
END
}

# The commands of the EXAMPLES that begin with this word, one per line.
example_commands() {
    sed -n '/^\.Sh EXAMPLES/,/^\.Sh DIAGNOSTICS/p' "$manual" | grep "^$1 "
}

# serves COMMAND: a daemon that is started like this serves vuctl.
serves() {
    local command=$1
    command=${command//\/run\//$BATS_TEST_TMPDIR/}
    if [[ $command =~ --config=([^ ]+) ]]; then
        # The configuration is the example that comes with it.
        sed "s#/run/vhost-shmemd#$BATS_TEST_TMPDIR#" "$top_srcdir/contrib/vhost-shmemd.conf.example" \
            >"$BATS_TEST_TMPDIR/example.conf"
        echo 'control-socket = none' >>"$BATS_TEST_TMPDIR/example.conf"
        command=${command/"${BASH_REMATCH[1]}"/$BATS_TEST_TMPDIR/example.conf}
        socket=$BATS_TEST_TMPDIR/exchange.sock
    else
        [[ $command =~ --socket-path=([^ ]+) ]]
        socket=${BASH_REMATCH[1]}
    fi
    eval "set -- ${command#vhost-shmemd }"
    "$SHMEMD" --worker="$SHMEMD_WORKER" "$@" >>"$log" 2>&1 3>&- &
    daemon_pid=$!
    wait_until test -S "$socket"
    run -0 vuctl negotiate start expect-map flush stop
    stop_daemon TERM
}

@test "the page on vhost-shmemctl has every key of the status, and no other" {
    local keys
    keys=$(python3 - "$top_srcdir/tests/helpers/status.json" <<'EOF'
import json, sys
def keys(value):
    if isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from keys(part)
    if isinstance(value, list):
        for part in value:
            yield from keys(part)
print("\n".join(sorted(set(keys(json.load(open(sys.argv[1])))) - {"ok"})))
EOF
    )
    assert_equal "$(sed -n '/^\.Sh STATUS/,/^\.Sh ENV/p' "$top_srcdir/man/vhost-shmemctl.1" |
        grep -v 'Cm status' | sed -nE 's/^\.(It )?Cm (.*)/\2/p' | tr -s ', ' '\n' |
        grep -E '^[a-z_]+$' | LC_ALL=C sort -u)" "$keys"
}

@test "each vhost-shmemd command of the manual's EXAMPLES starts and serves" {
    command -v mkfs.ext4 >/dev/null || PATH=$PATH:/usr/sbin:/sbin
    cd "$BATS_TEST_TMPDIR"
    mkdir rootfs
    echo hello >rootfs/file
    eval "$(example_commands mkfs.ext4)"
    local n=0 command
    while read -r command; do
        serves "$command"
        n=$((n + 1))
    done < <(example_commands vhost-shmemd)
    assert_equal "$n" 4
}

@test "each vhost-shmemd command of the page on front-ends starts and serves" {
    local n=0 command
    while read -r command; do
        serves "$command"
        n=$((n + 1))
    done < <(grep '^vhost-shmemd ' "$frontends")
    assert_equal "$n" 3
}
