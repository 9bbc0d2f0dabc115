#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Memory as a boundary: what a front-end can do with a region beyond mapping it.
# A read-only region cannot be written by anybody, whatever the front-end does
# with its descriptor; where a front-end can only map what it can write, it gets
# a copy that nobody else sees; and every memfd is as final as it can be.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034,SC2016

load helpers/common

# An image of 300000 bytes, all lines of it different, for a region of 2 MiB.
make_image() {
    image=${private_dir:-$BATS_TEST_TMPDIR}/image
    seq -f 'line %010.0f of the image' 10000 | head -c 300000 >"$image"
    region="shmid=0,size=2M,image=$image,access=read-only"
}

# --- read-only ---------------------------------------------------------------------

# start_read_only PROFILE: a daemon with a read-only region.
start_read_only() {
    make_image
    start_daemon "--front-end=$1" --region "$region,name=ro"
}

up_read_only=(start expect-map access=read-only size=2M name=ro)

@test "a read-only region is mapped for reading and has the image" {
    start_read_only rust-vmm
    run -0 vuctl negotiate order=rust-vmm get-shmem-config \
        "${up_read_only[@]}" region-is "$image" flush stop
    assert_log 'region ro: 2097152 bytes, loaded from .*, read-only$'
}

@test "a read-only region cannot be written by its descriptor, nor by one that /proc gives for it" {
    start_read_only rust-vmm
    run -0 vuctl negotiate order=rust-vmm "${up_read_only[@]}" expect-unwritable
}

@test "a read-only region cannot be written by a front-end of the daemon's own user" {
    as_ordinary_user
    start_read_only rust-vmm
    # Not what stands first in root's PATH, which nobody may not be able to run.
    as_user=("${daemon_prefix[@]}" env PATH=/usr/bin:/bin python3)
    "${as_user[@]}" -c '' || skip 'an ordinary user cannot run python3'
    run -0 "${as_user[@]}" - --socket "$socket" negotiate order=rust-vmm \
        "${up_read_only[@]}" expect-unwritable <"$top_srcdir/tests/vuctl"
}

@test "a front-end that refuses a read-only region is sent nothing else" {
    start_read_only rust-vmm
    run -0 vuctl negotiate order=rust-vmm "${up_read_only[@]}" answer=-13 expect-no-map \
        flush stop expect-no-map "${up_read_only[@]}" answer=1 expect-unwritable expect-no-map flush \
        channel expect-map access=read-only answer=-1 expect-no-map
    assert_log 'warn: .*SHMEM_MAP of shmid 0 refused'
}

@test "a front-end that gives a read-only region back as guest memory is refused" {
    start_read_only rust-vmm
    run -0 vuctl negotiate order=rust-vmm "${up_read_only[@]}" \
        add-mem-reg own=yes expect=nack flush mem-table-with-map expect=nack expect-open
    assert_log 'refused: Permission denied'
}

@test "read-only and writable regions go side by side" {
    make_image
    start_daemon --front-end=rust-vmm --device=raw --region "$region" \
        --region "shmid=7,size=2M,image=$image" --region shmid=9,size=4K,access=read-write
    run -0 vuctl negotiate order=rust-vmm start expect-map access=read-only size=2M \
        expect-map shmid=7 size=2M expect-map shmid=9 size=4K expect-unwritable \
        region-is "$image" shmid=7 region-write 0 c0ffee shmid=7 region-write 0 c0ffee shmid=9 \
        region-is "$image"
}

@test "the state of a device with a read-only region is saved, and not loaded" {
    start_read_only rust-vmm
    run -0 vuctl negotiate order=rust-vmm \
        send id=SET_DEVICE_STATE_FD payload=u32:1,u32:0 fds=pipe expect-reply u64=0x101 \
        "${up_read_only[@]}" region-is "$image" flush stop
    assert_log 'SET_DEVICE_STATE_FD refused: a region is read-only'
}

# --- copies ------------------------------------------------------------------------

# What each front-end does to get its copy.
up_copy=(negotiate start expect-map size=2M name=copy-of-shm0)

start_copies() {
    make_image
    start_daemon --region "$region,read-only-fallback=copy"
    assert_log 'shmid 0: each front-end gets a copy of region shm0$'
}

@test "with copies each front-end sees the image, and its writes are nobody else's" {
    start_copies
    run -0 vuctl on a "${up_copy[@]}" region-is "$image" \
        on b "${up_copy[@]}" region-is "$image" \
        on a region-write 4096 c0ffee region-write 2M-1 01 flush \
        on b region-is "$image" region-write 0 02 flush \
        on a region-read 4096 c0ffee region-read 2M-1 01 flush \
        on c "${up_copy[@]}" region-is "$image"
}

@test "with copies what a front-end wrote is gone when it leaves" {
    start_copies
    for _ in 1 2 3; do
        run -0 vuctl "${up_copy[@]}" region-is "$image" region-write 4096 c0ffee flush stop
    done
}

@test "with copies what a front-end wrote stays over its starts" {
    start_copies
    run -0 vuctl "${up_copy[@]}" region-write 4096 c0ffee flush stop start expect-map \
        region-read 4096 c0ffee flush stop start kept=yes map=none region-read 4096 c0ffee flush
}

@test "holes of an image are holes of a copy" {
    make_image
    truncate -s 200M "$image"
    start_daemon --region "shmid=0,image=$image,access=read-only,read-only-fallback=copy"
    run -0 vuctl negotiate get-shmem-config size=256M start expect-map size=256M \
        region-blocks 1M region-is "$image"
}

@test "a front-end that can map for reading gets no copy" {
    make_image
    start_daemon --front-end=rust-vmm --region "$region,name=ro,read-only-fallback=copy"
    run -0 vuctl negotiate order=rust-vmm "${up_read_only[@]}" expect-unwritable
}

@test "of the original no worker that has a copy keeps a descriptor" {
    start_copies
    require_worker_fd
    run -0 vuctl "${up_copy[@]}" \
        run "ls -l /proc/\$(worker_of 1)/fd >$BATS_TEST_TMPDIR/fds"
    run -0 grep -c memfd:vhost-shmemd:copy-of-shm0 "$BATS_TEST_TMPDIR/fds"
    assert_output 1
    run -1 grep memfd:vhost-shmemd:shm0 "$BATS_TEST_TMPDIR/fds"
}

@test "two regions have a copy each" {
    make_image
    local copy=image=$image,size=2M,access=read-only,read-only-fallback=copy
    start_daemon --device=raw --region "shmid=0,$copy" --region "shmid=3,$copy"
    run -0 vuctl negotiate start expect-map size=2M name=copy-of-shm0 \
        expect-map shmid=3 size=2M name=copy-of-shm3 region-write 0 c0ffee \
        region-is "$image" shmid=3
}

# --- every memfd ---------------------------------------------------------------------

# memfds PID...: check each memfd that these processes have: mode, seals, and
# whether it is open for writing. Prints what they are, and how they are open,
# sorted.
memfds() {
    python3 - "$@" <<'END' | sort
import fcntl, os, pathlib, stat, sys

try:
    os.close(os.memfd_create("probe", 8))
    executable = 0x20
except OSError:
    executable = 0
for pid in sys.argv[1:]:
    for path in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        link = os.readlink(path)
        if not link.startswith("/memfd:"):
            continue
        name = link.removeprefix("/memfd:").removesuffix(" (deleted)")
        info = pathlib.Path(f"/proc/{pid}/fdinfo/{path.name}").read_text()
        flags = int(info.split("flags:")[1].split()[0], 8) & os.O_ACCMODE
        fd = os.open(path, os.O_RDONLY)
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        assert seals & ~0x18 == 7 | executable, f"{pid}: {name}: seals {seals:#x}"
        assert mode == 0o600, f"{pid}: {name}: mode {mode:#o}"
        # Of what may be written the supervisor has a second one, for reading.
        assert flags == os.O_RDONLY or (flags == os.O_RDWR and not seals & 0x18), \
            f"{pid}: {name}: {flags}"
        print(name, "read-only" if seals & 0x18 == 0x18 else "read-write",
              "RDONLY" if flags == os.O_RDONLY else "RDWR")
END
}

@test "every memfd has its size, mode and seals final, and none is left to write to what is read-only" {
    make_image
    start_daemon --front-end=rust-vmm --device=raw --region "$region,name=ro" \
        --region shmid=1,size=4K,name=rw
    require_worker_fd
    run -0 memfds "$daemon_pid"
    assert_output 'vhost-shmemd:ro read-only RDONLY
vhost-shmemd:ro read-only RDONLY
vhost-shmemd:rw read-write RDONLY
vhost-shmemd:rw read-write RDWR'
    # A spare knows of no region yet, and the builder keeps none.
    # shellcheck disable=SC2046 # one worker
    run -0 memfds $(worker_pids)
    assert_output 'inflight read-write RDWR'
    run -0 memfds "$(pgrep -P "$daemon_pid" shmemd-builder)"
    assert_output ''
    export -f memfds
    run -0 vuctl negotiate order=rust-vmm run 'memfds $(worker_of 1)'
    assert_output 'inflight read-write RDWR
vhost-shmemd:ro read-only RDONLY
vhost-shmemd:rw read-write RDWR'
}

@test "every memfd is final where there are copies, too" {
    start_copies
    require_worker_fd
    run -0 memfds "$daemon_pid"
    assert_output 'vhost-shmemd:shm0 read-only RDONLY
vhost-shmemd:shm0 read-only RDONLY'
    export -f memfds
    run -0 vuctl "${up_copy[@]}" run 'memfds $(worker_of 1)'
    assert_output 'vhost-shmemd:copy-of-shm0 read-write RDWR'
}
