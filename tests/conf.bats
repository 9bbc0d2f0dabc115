#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Configuration files: what each key takes and refuses, that every mistake is
# told with its line, and that what is written there is served.

# What helpers/common.bash sets or reads; and $T in quotes, which is_wrong expands:
# shellcheck disable=SC2154,SC2034,SC2030,SC2031,SC2016

load helpers/common

manual=$top_srcdir/man/vhost-shmemd.conf.5

# load_keys: a good value of each key, a bad one with what is said of it, and what
# else has to stand in its section. $T is the directory of the test.
load_keys() {
    declare -gA good bad also shown
    T=$BATS_TEST_TMPDIR
    conf=$T/c.conf
    truncate -s 4M "$T/image"
    truncate -s 8M "$T/file"
    printf '\1\2' >"$T/bytes"
    local sum
    sum=$(sha256sum <"$T/image")
    sum=${sum%% *}

    good[- user]=$(id -un)
    ((EUID)) || good[- user]=nobody
    bad[- user]='no-such-user|user'
    good[- sandbox]=strict bad[- sandbox]='off|it is auto or strict'
    good[- log-level]=debug bad[- log-level]='loud|it is error, warn, info or debug'
    good[- control-socket]=$T/control bad[- control-socket]='control|an absolute path'
    good[- control-group]=$(id -gn) bad[- control-group]='no-such-group|no such group'
    also[- control-group]="control-socket = $T/control"

    also[region size]=' '
    good[region size]=8M bad[region size]='8Q|a size is a number'
    good[region image]=$T/image bad[region image]="$T/none|No such file"
    good[region sha256]=$sum bad[region sha256]='12|64 hexadecimal digits'
    also[region sha256]="image = $T/image"
    good[region file]=$T/file bad[region file]="$T/none|no such file"
    also[region file]=' '
    good[region create]=yes bad[region create]='maybe|it is no or yes'
    also[region create]="file = $T/file"
    good[region sync]=none bad[region sync]='fsync|it is fdatasync or none'
    also[region sync]="file = $T/file"
    bad[region hugepages]='4M|it is 2M or 1G'
    [[ ! -d /sys/kernel/mm/hugepages/hugepages-2048kB ]] || good[region hugepages]=2M
    good[region numa-node]=0 bad[region numa-node]='1024|a number from 0 to 1023'
    good[region prealloc]=yes bad[region prealloc]='1|it is no or yes'
    good[region lock]=yes bad[region lock]='true|it is no or yes'
    good[region access]=read-only bad[region access]='copy|it is read-write or read-only'
    also[region access]="image = $T/image"
    good[region on-release]=discard bad[region on-release]='drop|it is keep, zero or discard'
    good[region max-connections]=65535 bad[region max-connections]='65536|from 0 to 65535'

    good[device socket]=$T/other bad[device socket]='here|an absolute path'
    also[device socket]=' '
    good[device socket-owner]=$(id -un) bad[device socket-owner]='no-such-user|no such user'
    good[device socket-group]=$(id -gn) bad[device socket-group]='no-such-group|no such group'
    good[device socket-mode]=0660 bad[device socket-mode]='0888|octal digits'
    good[device type]=raw bad[device type]='toaster|it is pmem or raw'
    good[device front-end]=rust-vmm bad[device front-end]='netscape|no such profile: qemu, rust-vmm'
    good[device virtio-id]=63 bad[device virtio-id]='64|from 1 to 63'
    good[device queues]=8 bad[device queues]='9|from 1 to 8'
    good[device config]='"00 1f"' bad[device config]='"00 1"|hexadecimal digits'
    shown[device config]='config = 001f'
    good[device config-file]=$T/bytes bad[device config-file]="$T/file|the file has more"
    shown[device config-file]='config = 0102'
    local key
    for key in virtio-id queues config config-file; do
        also[device $key]="socket = $T/s type = raw"
    done
    good[device allow-user]='{ root, 4242 }' bad[device allow-user]='{ root, no-such-user }|no-such-user: there is no such user'
    good[device allow-group]='{ root, 4242 }' bad[device allow-group]='{ root, no-such-group }|no-such-group: there is no such group'
    good[device max-connections]=1 bad[device max-connections]='-1|from 0 to 65535'
    good[device max-flushes]=0 bad[device max-flushes]='many|from 0 to 1000000'
    good[device message-timeout]=3600 bad[device message-timeout]='0|from 1 to 3600'
    good[device without]='{ packed, event-idx }' bad[device without]='{ packed, rings }|it is packed, in-order'

    good[shm region]=r bad[shm region]='nobodys|no region of this name'
    also[shm region]=' '
    good[shm access]=copy bad[shm access]='none|it is read-write, read-only or copy'
    good[shm read-only-fallback]=copy bad[shm read-only-fallback]='share|it is copy'
    shown[shm read-only-fallback]='access = copy'
}

# write_key SECTION KEY VALUE: a configuration with this key in its second line.
write_key() {
    local extra=${also[$1 $2]:-} read_only='size = 4M'
    [[ $1 != shm ]] || read_only="image = $T/image access = read-only"
    case $1 in
    -) printf '#\n%s = %s\n%s\n' "$2" "$3" "$extra" ;;
    region) printf 'region r {\n%s = %s\n%s }\n' "$2" "$3" "${extra:-size = 4M}" ;;
    device) printf 'device d {\n%s = %s\n%s shm 0 { region = r } }\n' "$2" "$3" "${extra:-socket = $T/s}" ;;
    shm) printf 'device d { socket = %s front-end = qemu shm 0 {\n%s = %s\n%s } }\n' "$T/s" "$2" "$3" \
        "${extra:-region = r}" ;;
    esac >"$conf"
    [[ $1 = region ]] || echo "region r { $read_only }" >>"$conf"
    case $1 in - | region) echo "device d { socket = $T/s front-end = rust-vmm shm 0 { region = r } }" >>"$conf" ;; esac
    # A region that is read as its image says goes to QEMU as a copy.
    [[ "$1 $2" != 'shm region' ]] || sed -i 's/front-end = qemu/front-end = crosvm/' "$conf"
}

check() {
    run --separate-stderr "$SHMEMD" --config="$conf" --check-config "$@"
}

# all_keys: "SECTION KEY" of each, as --help-config prints them.
all_keys() {
    "$SHMEMD" --help-config | grep -E '^(-|[a-z]+) [a-z0-9-]+$'
}

@test "--help-config has each key with its values, default or what is without it, and help" {
    run -0 --separate-stderr "$SHMEMD" --help-config
    assert_equal "$stderr" ''
    run -0 awk '
        /^[^ ]/ { if (n && n != 4) bad = 1; n = 0; keys++ }
        { n++ }
        n == 2 && !/^    values:  ./ { bad = 1 }
        n == 3 && !/^    (default|without): ./ { bad = 1 }
        n == 4 && !/^    [^ ]/ { bad = 1 }
        END { exit bad || n != 4 || keys < 35 }' <<<"$output"
}

@test "these tests try each key that there is, and no other" {
    load_keys
    : "${good[region hugepages]:=2M}"
    local keys
    keys=$(all_keys | sort)
    assert_equal "$(printf '%s\n' "${!good[@]}" | sort)" "$keys"
    assert_equal "$(printf '%s\n' "${!bad[@]}" | sort)" "$keys"
}

@test "each key takes a good value, and --check-config shows it" {
    load_keys
    local section key value line
    while read -r section key; do
        value=${good[$section $key]-}
        [[ -n $value ]] || continue # this host has no such pages
        write_key "$section" "$key" "$value"
        check
        ((status == 0)) || fail "$section $key = $value: $stderr"
        line=${shown[$section $key]:-$key = $value}
        tr -d '"' <<<"$output" | grep -qE "^\s*${line//./\\.}\$" || fail "$section: no '$line' in $output"
    done < <(all_keys)
}

@test "each key refuses a bad value, at its line, and says what would be right" {
    load_keys
    local section key value
    while read -r section key; do
        value=${bad[$section $key]}
        write_key "$section" "$key" "${value%%|*}"
        check
        ((status == 1)) || fail "$section $key = $value: status $status"
        assert_equal "$output" ''
        grep -qF "error: $conf:2: " <<<"$stderr" || fail "$section $key: not at its line: $stderr"
        grep -F "$conf:2: " <<<"$stderr" | grep -qF -e "${value#*|}" || fail "$section $key: $stderr"
    done < <(all_keys)
}

@test "each key that is there twice is refused, and the first one's line is told" {
    load_keys
    local section key value
    while read -r section key; do
        value=${bad[$section $key]%%|*}
        value=${good[$section $key]:-$value}
        write_key "$section" "$key" "$value"
        sed -i 2p "$conf"
        check
        ((status == 1)) || fail "$section $key: status $status"
        grep -qF "$conf:3: $key is there twice; the first is at $conf:2" <<<"$stderr" ||
            fail "$section $key: $stderr"
    done < <(all_keys)
}

@test "what --check-config prints is a configuration that says the same" {
    load_keys
    local section key first
    while read -r section key; do
        [[ -n ${good[$section $key]:-} ]] || continue
        write_key "$section" "$key" "${good[$section $key]}"
        check
        ((status == 0)) || fail "$section $key: $stderr"
        first=$output
        printf '%s\n' "$output" >"$conf"
        check
        assert_equal "$output" "$first"
    done < <(all_keys)
    assert [ ! -e "$T/s" ]
}

# --- mistakes that several keys make -------------------------------------------

# is_wrong LINE TEXT: the configuration on standard input, with a device that has
# region r, is refused, and that is told at this line.
is_wrong() {
    sed "s|\$T|$T|g" >"$conf"
    check
    ((status == 1)) || fail "it is taken: $(<"$conf")"
    grep -qF "$conf:$1: $2" <<<"$stderr" || fail "$(<"$conf")"$'\n'"no '$1: $2' in: $stderr"
}

# region_is_wrong TEXT KEYS: a region with these keys, the last of which is it.
region_is_wrong() {
    [[ $2 =~ ^(.*)\ ([a-z0-9-]+\ =\ [^\ ]+)$ ]]
    is_wrong 2 "$1" <<<"region r { ${BASH_REMATCH[1]}
${BASH_REMATCH[2]} }
device d { socket = \$T/s front-end = rust-vmm shm 0 { region = r } }"
}

@test "keys of a region that do not go together are refused, each with its reason" {
    load_keys
    region_is_wrong 'region r: image and file exclude' "image = $T/image file = $T/file"
    region_is_wrong 'region r: sha256 is that of an image' "size = 4M sha256 = ${good[region sha256]}"
    region_is_wrong 'region r: create is about a file' 'size = 4M create = yes'
    region_is_wrong 'region r: sync is about a file' 'size = 4M sync = none'
    region_is_wrong 'region r: hugepages does not go with file' "file = $T/file hugepages = 2M"
    region_is_wrong 'region r: numa-node does not go with file' "file = $T/file numa-node = 0"
    region_is_wrong 'region r: prealloc does not go with file' "file = $T/file prealloc = yes"
    region_is_wrong 'region r: lock does not go with file' "file = $T/file lock = yes"
    region_is_wrong 'region r: access=read-only without image= is zeros' 'size = 4M access = read-only'
    region_is_wrong 'region r: on-release: what the image holds' "image = $T/image on-release = zero"
    region_is_wrong 'region r: on-release: what the file holds' "file = $T/file on-release = discard"
    region_is_wrong 'region r: numa-node=999: this host has no such node' 'size = 4M numa-node = 999'
    region_is_wrong 'region r: size=8M: the file has 4M; size=4M works' "file = $T/image size = 8M"
    region_is_wrong 'region r: size=2M: the file has 4M, and is not made shorter' "create = yes file = $T/image size = 2M"
    region_is_wrong "file=$T/none: there is no such file, and to make it" "create = yes file = $T/none"
    region_is_wrong "file=$T/no/ne: the directory $T/no" "size = 4M create = yes file = $T/no/ne"
    region_is_wrong "file=$T: not a regular file" "create = no file = $T"
    region_is_wrong 'region r: the image has 4M bytes and does not fit' "size = 2M image = $T/image"
    region_is_wrong 'region r: size=3M: Linux maps pmem' 'access = read-write size = 3M'
}

@test "a page size that the host does not have, or that does not divide the region, is refused" {
    load_keys
    local size
    for size in 1G 2M; do
        if [[ ! -d /sys/kernel/mm/hugepages/hugepages-$([[ $size = 1G ]] && echo 1048576 || echo 2048)kB ]]; then
            region_is_wrong "region r: hugepages=$size: this host has no pages" "size = 1G hugepages = $size"
        else
            is_wrong 1 "region r: size=4K is not a multiple of hugepages=$size; size=$size works" <<END
region r { size = 4096 hugepages = $size }
device d { socket = \$T/s type = raw shm 0 { region = r } }
END
        fi
    done
}

@test "prealloc, lock and hugepages together cannot be more than the memory of the host" {
    load_keys
    local kib
    kib=$(sed -nE 's/^MemTotal: *([0-9]+) kB/\1/p' /proc/meminfo)
    # Two thirds of it, in units of 4 MiB, twice.
    local size=$((4 * (kib / 6144)))M
    is_wrong 2 'region b: the regions with prealloc, lock or hugepages are together more' <<END
region a { size = $size prealloc = yes }
region b { size = $size lock = yes }
device a { socket = \$T/a front-end = rust-vmm shm 0 { region = a } }
device b { socket = \$T/b front-end = rust-vmm shm 0 { region = b } }
END
    sed -i 's/lock = yes//' "$conf"
    check
    assert_equal "$status" 0
}

@test "what a device cannot do with a region is refused, with what would do" {
    load_keys
    local ro='region r { image = $T/image access = read-only }' rw='region r { size = 4M }'
    is_wrong 3 'shm 0: access=read-write: region r is read-only' <<<"$ro
device d { socket = \$T/s front-end = crosvm shm 0 { region = r
access = read-write } }"
    is_wrong 3 'shm 0: access=copy: a copy of what others write to meanwhile would be torn; region r needs access=read-only' <<<"$rw
device d { socket = \$T/s shm 0 { region = r
access = copy } }"
    is_wrong 3 'shm 0: access=read-only: front-end=qemu maps no memory but what it can write, and a copy' <<<"$rw
device d { socket = \$T/s shm 0 { region = r
access = read-only } }"
    is_wrong 3 'shm 0: read-only-fallback=copy: a copy' <<<"$rw
device d { socket = \$T/s shm 0 { region = r access = read-only
read-only-fallback = copy } }"
    is_wrong 2 'region r: access=read-only: front-end=qemu maps no memory but what it can write; with read-only-fallback=copy' <<<"$ro
device d { socket = \$T/s shm 0 { region = r } }"
    is_wrong 3 'region r: read-only-fallback=copy says nothing where access=copy' <<<"$ro
device d { socket = \$T/s shm 0 { region = r access = copy
read-only-fallback = copy } }"
    is_wrong 3 'shm 1: a pmem device has the one region shm 0' <<<"$rw
device d { socket = \$T/s front-end = rust-vmm
shm 1 { region = r } }"
    is_wrong 4 "shm 5 is there twice; the first is at $conf:3" <<<"$rw
device d { socket = \$T/s front-end = rust-vmm type = raw
shm 5 { region = r }
shm 5 { region = r } }"
    is_wrong 3 'device d: front-end=crosvm takes at most 1' <<<"$rw
device d { socket = \$T/s type = raw
front-end = crosvm shm 0 { region = r } shm 1 { region = r } }"
    is_wrong 3 'device d: with front-end=qemu the sizes of its regions have to add up to a power of two; they are 12M, and 16M works' <<<"$rw
region s { size = 8M }
device d { socket = \$T/s type = raw shm 0 { region = r } shm 1 { region = s } }"
    is_wrong 1 'region r: size=6M: with front-end=qemu it has to be a power of two; size=8M works' <<<"region r { size = 6M }
device d { socket = \$T/s shm 0 { region = r } }"
    local key
    for key in 'config = 00' 'queues = 2' 'virtio-id = 3' "config-file = $T/bytes"; do
        is_wrong 3 "device d: ${key%% *} is for type=raw" <<<"$rw
device d { socket = \$T/s shm 0 { region = r }
$key }"
    done
    is_wrong 3 'device d: config and config-file exclude' <<<"$rw
device d { socket = \$T/s type = raw shm 0 { region = r } config = 00
config-file = \$T/bytes }"
}

@test "an image that several devices have is rounded up to what suits all of them" {
    load_keys
    truncate -s 5M "$T/image"
    cat >"$conf" <<END
region r { image = $T/image }
device a { socket = $T/a front-end = rust-vmm shm 0 { region = r } }
device b { socket = $T/b shm 0 { region = r } }
END
    check
    assert_equal "$status" 0
    assert_line --regexp 'size = 8M'
}

@test "what is missing is told" {
    load_keys
    is_wrong 1 'region r: size, image or file is missing' <<<'region r { }
device d { socket = $T/s shm 0 { region = r } }'
    is_wrong 2 'device d: a region is missing, such as shm 0' <<<'region r { size = 4M }
device d { socket = $T/s }'
    is_wrong 3 'shm 0: region is missing' <<<'region r { size = 4M }
device d { socket = $T/s
shm 0 { } }'
    echo 'region r { size = 4M }' >"$conf"
    check
    assert_equal "$status" 1
    [[ $stderr == *"$conf: there is no device"* ]]
}

@test "a device without a socket is checked, and not served" {
    load_keys
    printf 'region r { size = 4M }\ndevice d { shm 0 { region = r } }\n' >"$conf"
    check
    assert_equal "$status" 0
    assert_output --partial 'has to hand over its socket, by the name d'
    run -1 --separate-stderr "$top_builddir/vhost-shmemd" --config="$conf"
    [[ $stderr == *"$conf:2: device d: socket is missing"* ]]
    is_wrong 2 'device control: that is the name of the control socket' <<<'region r { size = 4M }
device control { socket = $T/s shm 0 { region = r } }'
}

@test "two regions or devices of one name, socket or file are refused, and the first is told" {
    load_keys
    is_wrong 4 "region r: there is one with this name already ($conf:1)" <<<'region r { size = 4M }
device d { socket = $T/s shm 0 { region = r } }
# no key in it
region r { }'
    is_wrong 3 "device d: there is one with this name already ($conf:2)" <<<'region r { size = 4M }
device d { socket = $T/s shm 0 { region = r } }
device d { socket = $T/t shm 0 { region = r } }'
    is_wrong 4 "socket=$T/s: device d has this socket already ($conf:2)" <<<'region r { size = 4M }
device d { socket = $T/s shm 0 { region = r } }
device e { shm 0 { region = r }
socket = $T/s }'
    ln -s file "$T/link"
    is_wrong 2 "file=$T/link: region r has this file already ($conf:1)" <<<'region r { file = $T/file }
region s { file = $T/link }
device d { socket = $T/s shm 0 { region = r } }'
    is_wrong 2 "file=$T/new: region r has this file already ($conf:1)" <<<'region r { file = $T/new create = yes size = 4M }
region s { file = $T/new create = yes size = 4M }
device d { socket = $T/s shm 0 { region = r } }'
    is_wrong 3 "socket=$T/s: that is the control socket" <<<'region r { size = 4M }
control-socket = $T/s
device d { socket = $T/s shm 0 { region = r } }'
}

@test "a socket whose path is too long, or in no directory, is refused" {
    load_keys
    local long
    long=$T/$(printf 'x%.0s' {1..120})
    is_wrong 2 "socket=$long: too long" <<<"region r { size = 4M }
device d { socket = $long shm 0 { region = r } }"
    is_wrong 2 "socket=$T/no/s: the directory $T/no: No such file" <<<'region r { size = 4M }
device d { socket = $T/no/s shm 0 { region = r } }'
    is_wrong 1 "control-socket=$long: too long" <<<"control-socket = $long"
}

# --- files ---------------------------------------------------------------------

@test "every mistake of every file is told in one run, with its file and line" {
    load_keys
    mkdir "$T/conf.d"
    cat >"$conf" <<END
sandboxx = strict
region one {
    size = 4Q
    max-connections = many
}
device a {
    socket = $T/a
    shm 0 { region = two }
    shm 1 { region = three }
}
END
    echo "region two { size = 5000 }" >"$T/conf.d/20.conf"
    cat >"$T/conf.d/10.conf" <<END
# first of the two
region one { size = 4M }
colour = blue
log-level = loud
END
    echo 'nonsense {' >"$T/conf.d/no"
    echo 'nonsense {' >"$T/conf.d/.no.conf"
    check
    assert_equal "$status" 1
    assert_equal "$(sed "s|^vhost-shmemd: error: $T/||; s|$T/||g" <<<"$stderr" | cut -c -58)" "\
c.conf:1: sandboxx: there is no such key here; is it sandb
c.conf:3: size=4Q: a size is a number above 0, in bytes or
c.conf:4: max-connections=many: a number from 0 to 65535 b
conf.d/10.conf:3: colour: there is no such key here
conf.d/10.conf:4: log-level=loud: it is error, warn, info 
c.conf:9: region=three: there is no region of this name
conf.d/10.conf:2: region one: there is one with this name 
conf.d/20.conf:1: region two: size=5000 is not a multiple 
c.conf:9: shm 1: a pmem device has the one region shm 0"
}

@test "regions, devices and other keys of all files are one set" {
    load_keys
    mkdir "$T/conf.d"
    echo "device d { socket = $T/s shm 0 { region = r } }" >"$conf"
    echo 'region r { size = 4M }' >"$T/conf.d/r.conf"
    echo 'log-level = debug' >"$T/conf.d/level.conf"
    check
    assert_equal "$status" 0
    assert_line 'log-level = debug'
    assert_line --regexp 'size = 4M'
    echo 'log-level = warn' >"$T/conf.d/z.conf"
    check
    assert_equal "$status" 1
    [[ $stderr == *"$T/conf.d/z.conf:1: log-level is there twice; the first is at $T/conf.d/level.conf:1"* ]]
}

@test "a key that is not known does not hide what stands after it, and the nearest is named" {
    load_keys
    cat >"$conf" <<END
region r {
    siez = 4M
    acess = read-only
    zzz = 1
    size = 4Q
}
END
    check
    [[ $stderr == *"$conf:2: siez: there is no such key in a section region; is it size?"* ]]
    [[ $stderr == *"$conf:3: acess: there is no such key in a section region; is it access?"* ]]
    [[ $stderr == *"$conf:4: zzz: there is no such key in a section region"$'\n'* ]]
    [[ $stderr == *"$conf:5: size=4Q"* ]]
    echo 'regoin r { size = 4M }' >"$conf"
    check
    [[ $stderr == *"$conf:1: regoin: there is no such key here; is it region?"* ]]
}

# syntax LINE TEXT FILE: the file, in the words of printf, is refused so.
syntax() {
    # shellcheck disable=SC2059 # that is meant
    printf "$3" >"$conf"
    check
    ((status == 1)) || fail "status $status of: $3"
    grep -qF "$conf:$1: $2" <<<"$stderr" || fail "no '$1: $2' in: $stderr"
}

@test "what the syntax does not have is refused at its line" {
    load_keys
    syntax 2 "a control character (0x00)" '\n\0user = x'
    syntax 1 'a control character (0x0d): lines end with LF alone' 'user = x\r\n'
    syntax 1 'a string has no end in its line' 'user = "x\ny"\n'
    syntax 2 "''' belongs into double quotes" "\nuser = 'x'"
    syntax 1 "'\$' belongs into double quotes" 'user = ${HOME}\n'
    syntax 1 "'\${' cannot be part of a string" 'user = "${HOME}"\n'
    syntax 1 "'+' belongs into double quotes" 'user += x\n'
    syntax 1 "'(' belongs into double quotes" 'include("x")\n'
    syntax 1 "'|' cannot be part of a string" '"region=r|size" = 4M'
    syntax 1 'comments begin with #' '/* x */'
    syntax 2 'a path with two slashes' '# x\n// x'
    syntax 1 'a path that ends with a slash' 'control-socket = /run/\n'
    syntax 1 'in a string a backslash' 'user = "\\101"'
    syntax 1 'a character that is not ASCII' 'user = \xc3\xa4'
    syntax 1 'an empty list' 'allow-user = { }'
    syntax 1 'a closing brace without' '}'
    syntax 3 'the file ends, and 2 closing braces are missing' 'device d {\nshm 0 {\n'
    syntax 1 'more than 4 braces' 'a{a{a{a{a{'
    syntax 2 "missing title for section 'region'" '\nregion { }'
    syntax 1 "missing equal sign after option 'user'" 'user "x"'
    syntax 1 'region "a b": letters, digits' 'region "a b" { }'
    syntax 1 'region "": a name has 1 to 63' 'region "" { }'
    syntax 1 'shm 256: a number from 0 to 255' 'device d { shm 256 { } }'
}

@test "comments do not change the lines that are told" {
    load_keys
    syntax 5 'user=: a name is missing' '# one\n# two # and two\n\n  # three\nuser = "" # four\n'
}

@test "a configuration that is no file, too large or missing is refused by its name" {
    load_keys
    run -1 "$SHMEMD" --config="$T/none" --check-config
    assert_output --partial "$T/none: No such file"
    run -1 "$SHMEMD" --config="$T" --check-config
    assert_output --partial "$T: not a regular file"
    run -1 "$SHMEMD" --config=/dev/zero --check-config
    assert_output --partial 'not a regular file'
    truncate -s 1048577 "$conf"
    check
    [[ $stderr == *"$conf: more than 1M"* ]]
}

@test "root takes no configuration that others could have written" {
    require_root
    load_keys
    write_key - sandbox auto
    chmod 664 "$conf"
    check
    assert_equal "$status" 1
    [[ $stderr == *"$conf: others than root may write to it"* ]]
    chmod 644 "$conf"
    check
    assert_equal "$status" 0
    mkdir -m 777 "$T/conf.d"
    check
    [[ $stderr == *"$T/conf.d: others than root may write to it"* ]]
    chmod 755 "$T/conf.d"
    install -m 600 -o 65534 /dev/null "$T/conf.d/x.conf"
    check
    [[ $stderr == *"$T/conf.d/x.conf: it belongs to somebody else than root"* ]]
}

# --- with the command line -------------------------------------------------------

@test "without any option the configuration is one of the system, and its name is told" {
    local path
    path=$("$SHMEMD" --help | grep -oE '/[^ ]*/vhost-shmemd/vhost-shmemd.conf')
    [[ ! -e $path ]] || skip "there is $path"
    run -1 "$SHMEMD"
    assert_output --partial "$path: No such file"
    assert_output --partial '--socket-path and --region'
}

@test "options about one device are refused beside --config" {
    load_keys
    write_key - sandbox auto
    local option
    for option in socket-path=/x fd=9 connect=/x device=raw region=shmid=0,size=4M \
        front-end=qemu message-timeout=3 without=packed once; do
        check "--$option"
        assert_equal "$status" 1
        [[ $stderr == *"--${option%%=*} is about one device"* ]]
    done
}

@test "--user, --sandbox, --log-level and --control-socket count instead of the file" {
    load_keys
    printf 'user = no-such-user\nsandbox = strict\nlog-level = error\ncontrol-socket = /a\n' >"$conf"
    printf 'region r { size = 4M }\ndevice d { socket = %s shm 0 { region = r } }\n' "$T/s" >>"$conf"
    check --user="${good[- user]}" --sandbox=auto --log-level=debug --control-socket=/b
    assert_equal "$status" 0
    assert_line "user = \"${good[- user]}\""
    assert_line 'sandbox = auto'
    assert_line 'log-level = debug'
    assert_line 'control-socket = "/b"'
}

@test "--region takes the keys of a region, and --check-config shows what a command line comes to" {
    run -0 "$SHMEMD" --check-config --socket-path="$socket" \
        --region shmid=0,size=4M,prealloc=yes,max-connections=7,on-release=zero
    assert_line --regexp 'prealloc = yes'
    assert_line --regexp 'max-connections = 7'
    assert_line --regexp 'on-release = zero'
    assert [ ! -e "$socket" ]
    run -1 "$SHMEMD" --socket-path="$socket" --region shmid=0,size=4M,numa-node=999
    assert_output --partial 'numa-node=999'
}

@test "what a configuration says is served" {
    load_keys
    printf 'control-socket = none\nregion r { size = 8M }\n' >"$conf"
    printf 'device d { socket = %s shm 0 { region = r } }\n' "$socket" >>"$conf"
    "$SHMEMD" --worker="$SHMEMD_WORKER" --config="$conf" >>"$log" 2>&1 3>&- &
    daemon_pid=$!
    wait_until is_ready
    run -0 vuctl negotiate start expect-map size=8M name=r flush stop
}

# --- what is written about it ----------------------------------------------------

# manual_keys: "SECTION KEY" of each item of the manual.
manual_keys() {
    sed -nE 's/^\.Ss Outside of sections/- /p; s/^\.Ss (region|device|shm) [A-Z]+/\1 /p; s/^\.It Cm ([a-z0-9-]+)$/\1/p' "$manual" |
        awk '/ $/ { section = $1; next } { print section, $1 }'
}

@test "the manual has every key of --help-config, and no other, in the same order" {
    assert_equal "$(manual_keys)" "$(all_keys)"
}

# item SECTION KEY: what the manual says of it.
item() {
    awk -v section="$1" -v key="$2" '
        /^\.Ss / { at = $2 == "Outside" ? "-" : $2; on = 0 }
        /^\.(It|El)/ { on = at == section && $0 == ".It Cm " key; next }
        on' "$manual"
}

@test "the manual names every word that a key can be, and every number that is a default" {
    local section key what values item word
    while read -r section key; do
        item=$(item "$section" "$key")
        [[ -n $item ]] || fail "$section $key is not in the manual"
        what=$("$SHMEMD" --help-config | grep -A2 -x -e "$section $key")
        values=$(sed -nE 's/^    values:  (a list of )?(.*)$/\2/p' <<<"$what")
        if [[ $values =~ ^[a-z0-9.MG-]+((,| or)\ [a-z0-9.MG-]+)+$ && ! $values =~ ' to ' ]]; then
            for word in ${values//,/}; do
                # No is what a key without yes is.
                [[ $word = or ]] || grep -qE "^\.Cm $word( |\$)" <<<"$item" || fail "$section $key: $word"
            done
        fi
        word=$(sed -nE 's/^    default: ([0-9]+)$/\1/p' <<<"$what")
        [[ -z $word ]] || grep -qwF "$word" <<<"$item" || fail "$section $key: $word"
    done < <(all_keys)
}

# examples FILE: the blocks of it that are configurations, in files of $T.
manual_examples() {
    awk -v T="$T" '
        /^\.Bd -literal/ { n++; on = 1; next }
        /^\.Ed/ { on = 0 }
        on { gsub(/\\e/, "\\"); print > (T "/example" n ".conf") }
        END { print n }' "$manual"
}

@test "the examples of the manual and of contrib/ are right" {
    load_keys
    assert_equal "$(manual_examples)" 4
    cp "$top_srcdir/contrib/vhost-shmemd.conf.example" "$T/example-of-contrib.conf"
    for conf in "$T"/example*.conf; do
        sed -i "s|/srv/tools.img|$T/image|; s|/srv/|$T/|; s|/run/vhost-shmemd/|$T/|; s|/run/|$T/|; s|/tmp/scratch|$T/scratch|" "$conf"
        chmod go-w "$conf"
        check
        ((status == 0)) || fail "$(<"$conf")"$'\n'"$stderr"
    done
}
