#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# The manual pages say what the program does, and the other way round.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034,SC2013,SC2030,SC2031

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
    messages=$(sed -n '/^enum priv_type/,/^}/p' "$top_srcdir/daemon/common/priv.h" |
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

# --- HTML -----------------------------------------------------------------------

@test "make install-html installs each page, and their links go somewhere" {
    require_tool mandoc
    [[ -e $top_builddir/Makefile ]] || skip 'this is no build tree'
    local html=$BATS_TEST_TMPDIR/html page link section
    run -0 make -s -C "$top_builddir" install-html htmldir="$html" DESTDIR=
    assert_equal "$(cd "$html" && ls)" "$(cd "$top_srcdir/man" && printf '%s.html\n' *.[1578])"
    for page in "$html"/*.html; do
        while read -r link; do
            case $link in
            https://*) ;;
            '#'*) grep -qF "id=\"${link#'#'}\"" "$page" || fail "${page##*/}: $link" ;;
            *) [[ -e $html/$link ]] || fail "${page##*/}: $link" ;;
            esac
        done < <(grep -oE 'href="[^"]*"' "$page" | cut -d'"' -f2)
        # The pages that it names are ours by name, and others' elsewhere.
        run -1 grep -E 'https://manpages.debian.org/vhost-shmem' "$page"
    done
    grep -q 'href="vhost-shmemd.conf.5.html"' "$html/vhost-shmemd.8.html"
    grep -q 'href="https://manpages.debian.org/memfd_create.2"' "$html/vhost-shmemd.8.html"
}

@test "without mandoc make html says what is missing" {
    [[ -e $top_builddir/Makefile ]] || skip 'this is no build tree'
    rm -f "$top_builddir/man/vhost-shmemd.8.html"
    run ! make -s -C "$top_builddir" MANDOC= man/vhost-shmemd.8.html
    assert_output --partial 'mandoc is missing, which makes HTML of manual pages: install it'
}

# --- the version -------------------------------------------------------------------

@test "the version is that of configure.ac wherever it is told" {
    local version program
    version=$(sed -nE 's/^AC_INIT\(\[vhost-shmemd\], \[(.*)\]\)$/\1/p' "$top_srcdir/configure.ac")
    [[ -n $version ]]
    for program in "$SHMEMD" "$top_builddir/vhost-shmemctl"; do
        run -0 "$program" --version
        assert_output "${program##*/} $version"
    done
    [[ $(head -n 1 "$top_srcdir/NEWS") =~ ^vhost-shmemd\ ([^ ]+) ]]
    assert_equal "${BASH_REMATCH[1]}" "$version"
    if [[ -e $top_srcdir/contrib/debian/changelog ]]; then
        run -0 sed -nE '1s/^vhost-shmemd \(([^-~]+).*/\1/p' "$top_srcdir/contrib/debian/changelog"
        assert_output "$version"
    fi
    # No source and no page repeats it.
    run -1 grep -rlF -e "$version" "$top_srcdir"/{proto,sandbox,daemon,tools,man,contrib/quickstart,README.md}
}

# --- what README.md says of libraries ---------------------------------------------

# library_column N: the library of each row, and cell N.
library_column() {
    # shellcheck disable=SC2016 # backquotes of README.md
    sed -nE 's/^\| `([a-z_-]+)` \|(.*)$/\1 \|\2/p' "$top_srcdir/README.md" |
        awk -F ' *[|] *' -v n="$1" '{ print $1, $n }'
}

@test "README.md has the libraries that configure asks for, and the versions" {
    run -0 sed -nE 's/^SHMEMD_LIB\(\[[A-Z_]+\], \[(.*) >= (.*)\], \[.*\], \[.*\]\)/\1 \2/p' "$top_srcdir/configure.ac"
    assert_equal "$(library_column 2)" "$output"
    grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || return 0
    require_tool pkg-config
    local library version
    while read -r library version; do
        [[ $(pkg-config --modversion "$library") =~ ^$version(-stable)?$ ]] || fail "$library $version"
    done < <(library_column 3)
}

@test "README.md says which program has which library, and none brings another" {
    is_sanitized && skip 'sanitizers are libraries, too'
    require_tool pkg-config
    local column=5 program library has needed
    for program in "$SHMEMD" "$SHMEMD_WORKER" "$top_builddir/vhost-shmemctl"; do
        needed=
        while read -r library has; do
            [[ $has = - ]] || needed+=$(pkg-config --libs-only-l "$library" | sed 's/-l/lib/; s/ .*//')$'\n'
        done < <(library_column "$column")
        # All that is loaded, those of libraries included.
        run -0 ldd "$program"
        output=$(sed -nE 's/^\s*(lib[a-z_-]*[a-z])[-.].* => .*/\1/p' <<<"$output" | grep -vx libc | sort)
        assert_equal "$program $output" "$program $(sort <<<"${needed%$'\n'}")"
        column=$((column + 1))
    done
}

# --- spelling -------------------------------------------------------------------

# misspelt: the words on standard input that are neither English nor in words.
misspelt() {
    # Names with digits and underscores are no words.
    sed -E "s/[A-Za-z0-9]*[0-9_][A-Za-z0-9_]*//g; s/'s\\b//g" |
        aspell list --lang=en --encoding=utf-8 "$@" | sort -u | grep -vixFf <(grep -v '^#' "$top_srcdir/tests/helpers/words") || true
}

# prose PAGE: what is said in it, without what is literal.
prose() {
    mandoc -T html -O fragment "$1" | misspelt --mode=html --add-html-skip={code,pre,a}
}

# helps: all help of the programs, without paths, which configure has chosen.
helps() {
    { "$SHMEMD" --help && "$SHMEMD" --help-config && "$top_builddir/vhost-shmemctl" --help; } |
        sed 's#/[^ ]*##g'
}

@test "the manual, the help and the other texts have English words, and ours" {
    require_tool aspell
    require_tool mandoc
    local file
    # It can fail.
    run -0 misspelt <<<'The memmory of QEMU, qemu_mem and 0x1f is recieved'
    assert_output $'memmory\nrecieved'
    for file in "$top_srcdir"/man/*.[1578]; do
        run -0 prose "$file"
        assert_output ''
    done
    for file in "$top_srcdir"/{README,HACKING,SECURITY}.md "$top_srcdir/NEWS"; do
        run -0 misspelt --mode=markdown <"$file"
        assert_output ''
    done
    run -0 misspelt < <(helps)
    assert_output ''
}

@test "each word that the spelling takes besides English is used" {
    local word text
    text=$(cat "$top_srcdir"/{man/*.[1578],README.md,HACKING.md,SECURITY.md,NEWS}
        helps)
    while read -r word; do
        grep -qiwF -e "$word" <<<"$text" || fail "$word"
    done < <(grep -v '^#' "$top_srcdir/tests/helpers/words")
}

# --- examples -------------------------------------------------------------------

# blocks KIND: the files of the examples of this kind, one per line.
blocks() {
    [[ -d $BATS_TEST_TMPDIR/examples ]] ||
        "$top_srcdir/tests/helpers/examples" "$BATS_TEST_TMPDIR/examples"
    find "$BATS_TEST_TMPDIR/examples/$1" -type f 2>/dev/null | sort -V
}

# texts KIND: all of them.
texts() {
    blocks "$1" | xargs -r cat
}

# Of "ctl" tests/ctl.bats runs all, of "guest" and "xml" tests/guest/manual.bats.
@test "each example of the manual is of a kind that tests run" {
    run -0 blocks unknown
    assert_output ''
    run -0 ls "$BATS_TEST_TMPDIR/examples"
    assert_output "$(printf '%s\n' admin conf ctl daemon guest host log picture tree unit xml)"
    run -1 grep -v '/vhost-shmemctl\.1\.' <(blocks ctl)
    # tests/guest/manual.bats runs those of README.md, too.
    assert_equal "$(texts guest | sort -u | wc -l)" 2
    run -0 blocks tree
    assert_equal "${#lines[@]}" 3
}

# begins COMMAND: start a daemon like this; it serves vuctl.
begins() {
    local command=${1% &}
    command=${command//\/run\//$BATS_TEST_TMPDIR/}
    if [[ $command =~ --config=([^ ]+) ]]; then
        # The configuration is the example that comes with it.
        sed "s#/run/vhost-shmemd#$BATS_TEST_TMPDIR#" "$top_srcdir/contrib/vhost-shmemd.conf.example" \
            >"$BATS_TEST_TMPDIR/example.conf"
        echo "control-socket = $control" >>"$BATS_TEST_TMPDIR/example.conf"
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
}

# try COMMAND: as it stands, for a daemon that was begun before. A guest of QEMU's
# is for tests/guest; there is no crosvm.
try() {
    local recipe
    case $1 in
    '') ;;
    'vhost-shmemd '*)
        [[ -z $daemon_pid ]] || stop_daemon TERM
        begins "$1"
        ;;
    'vhost-shmemctl '*)
        eval "set -- ${1#vhost-shmemctl }"
        run -0 ctl "$@"
        ;;
    'mkfs.ext4 '*)
        mkdir -p rootfs
        echo hello >rootfs/file
        eval "$1"
        ;;
    'qemu-system-x86_64 '*)
        recipe=$(recipe "$frontends")
        assert_equal "$1 " "$recipe"
        ;;
    'crosvm run '*)
        run -0 "$top_builddir/vhost-shmemctl" crosvm-args --socket=/run/shm.sock
        assert_equal "$1" "crosvm run $output ..."
        ;;
    *) fail "$1" ;;
    esac
}

@test "each command of the examples with vhost-shmemd starts and serves" {
    command -v mkfs.ext4 >/dev/null || PATH=$PATH:/usr/sbin:/sbin
    cd "$BATS_TEST_TMPDIR"
    local command
    for block in $(blocks daemon); do
        while IFS= read -r command; do
            try "$command"
        done <"$block"
        if [[ -n $daemon_pid ]]; then
            stop_daemon TERM
        fi
    done
    assert_equal "$(texts daemon | grep -c '^vhost-shmemd ')" 9
}

@test "each configuration of the examples is right" {
    cd "$BATS_TEST_TMPDIR"
    local block n=0
    truncate -s 2M image
    for block in $(blocks conf); do
        # Their files and sockets here, and users that there are.
        sed -E "s#/(srv|var/lib/vhost-shmemd)/[a-z.0-9]+#@/image#; s#/(run/vhost-shmemd|run|tmp)/#@/#
            s#@#$PWD#g; s/libvirt-qemu/root/; s/create = yes//; s/size = (1G|16M)//" "$block" >"$n.conf"
        run "$SHMEMD" --config="$PWD/$n.conf" --check-config
        ((status == 0)) || fail "${block##*/}: $output"
        n=$((n + 1))
    done
    ((n >= 6))
}

@test "the lines of the log that the manual shows are those that are written" {
    local sample
    sample=$(texts log | grep -A1 confined | paste -sd' ' | sed -E 's/[0-9]+/[0-9]+/g; s/[()]/\\&/g; s/as nobody/as [a-z0-9-]+/; s/without: .*/without: .*PID namespace/')
    daemon_prefix=(without_namespaces pid)
    start_daemon
    assert_log "$sample"
    sample=$(texts log | grep sandbox:)
    run -1 without_namespaces pid "$SHMEMD" --sandbox=strict --socket-path="$socket.2" \
        --region=shmid=0,size=4M --worker="$SHMEMD_WORKER"
    assert_output --partial "$sample"
    # tests/limits.bats makes it, where the kernel's log can be read.
    sample=$(texts log | grep forbidden | sed -E 's/[0-9]+/%d/g; s/conn %d/%s/; s/was .*/was %s (%s)/')
    grep -qF "\"$sample\"" "$top_srcdir/daemon/supervisor/kmsg.c"
}

@test "what the manual says to look at shows what it says" {
    require_root
    is_sanitized && skip 'sanitizers have files open'
    start_daemon
    local block
    block=$(blocks host)
    vhost-shmemd() {
        "$SHMEMD" "$@"
    }
    # Of all workers on this machine, the newest of this daemon.
    pgrep() {
        command pgrep -P "$daemon_pid" "$@"
    }
    # shellcheck disable=SC1090 # an example
    run -0 source "$block"
    assert_line --regexp '^worker: '
    assert_line $'NoNewPrivs:\t1'
    assert_line $'Seccomp:\t2'
    assert_line --regexp $'^CapEff:\t0+$'
    assert_line --partial 'anon_inode:[eventpoll]'
    assert_line --partial 'net ->'
    # The last command finds no file.
    refute_line --index $((${#lines[@]} - 1)) 'usr'
}

@test "each drop-in of the examples is one that systemd understands" {
    require_tool systemd-analyze
    local units=$BATS_TEST_TMPDIR/units block path
    [[ -e $top_builddir/contrib/systemd/vhost-shmemd.service ]] || skip 'there are no units in this build'
    mkdir "$units"
    sed 's/^\(ExecStart\|ExecReload\)=.*/\1=\/bin\/true/; s/^User=.*//; s/^Group=.*//' \
        "$top_builddir/contrib/systemd/vhost-shmemd.service" >"$units/vhost-shmemd.service"
    for block in $(blocks unit); do
        path=$(sed -n '1s/^# //p' "$block")
        [[ $path = /etc/systemd/system/vhost-shmemd.service.d/*.conf ]]
        mkdir -p "$units/vhost-shmemd.service.d"
        sed 's#=/srv/.*#=/usr#' "$block" >"$units/vhost-shmemd.service.d/${path##*/}"
    done
    SYSTEMD_UNIT_PATH=$units: run -0 systemd-analyze verify --man=no "$units/vhost-shmemd.service"
    # systemd 252 does not know it, which the page says.
    [[ $(systemd-analyze --version) =~ ^systemd\ ([0-9]+) ]]
    if ((BASH_REMATCH[1] < 254)); then
        output=$(grep -v "FileDescriptorStorePreserve" <<<"$output" || true)
    fi
    assert_output ''
}

@test "the manual has every unit, and no other" {
    [[ -d $top_srcdir/contrib/systemd ]] || skip 'there are no units in this tree'
    assert_equal "$(sed -n '/^\.Sh SYSTEMD/,/^\.Sh /p' "$manual" | grep -oE 'vhost-shmemd[a-z-]*(@[A-Za-z]*)?\.(service|socket)( |$)' |
        tr -d ' ' | sed 's/@[A-Za-z]*/@/' | sort -u)" \
        "$(find "$top_srcdir/contrib/systemd" -name '*.socket' -o -name '*.service.in' | sed 's/.*\///; s/\.in$//' | sort -u)"
}

@test "the manual has every variable of the environment that is looked at, and no other" {
    assert_equal "$(sed -nE '/^\.Sh ENV/,/^\.Sh /s/^\.It Ev //p' "$manual" | tr -s ' ,' '\n' | sort)" \
        "$(grep -ohE '(getenv|read_number)\("[A-Z_]+"' "$top_srcdir"/daemon/*/*.c | cut -d'"' -f2 | sort -u)"
}

@test "the units that the examples name are there" {
    local unit
    [[ -d $top_srcdir/contrib/systemd ]] || skip 'there are no units in this tree'
    for unit in $(texts admin | grep -oE 'vhost-shmemd[a-z@-]*(@[a-z0-9]+)?\.(socket|service)' | sed 's/@[a-z0-9]*/@/' | sort -u); do
        find "$top_srcdir/contrib/systemd" -name "$unit" -o -name "$unit.in" | grep -q . || fail "$unit"
    done
}

