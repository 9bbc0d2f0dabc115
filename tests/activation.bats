#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# What a service manager hands over and is told: sockets by LISTEN_FDS, sd_notify,
# and the memory of regions over a restart. systemd itself is run by systemd.bats;
# here is what it would do at most by mistake, and its tool socket-activate.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034

load helpers/common

# configured: the configuration is on standard input; $DAEMON serves it.
configured() {
    cd "$BATS_TEST_TMPDIR" || return
    write_config
    : >>"$log"
    export DAEMON="$SHMEMD --worker=$SHMEMD_WORKER --config=$conf --log-level=debug"
}

# activate ARG... -- COMMAND...: by systemd's tool, which waits for the first who
# connects, and keeps the environment to itself.
activate() {
    : >>"$log"
    systemd-socket-activate ${ASAN_OPTIONS:+-E ASAN_OPTIONS} "$@" >>"$log" 2>&1 3>&- &
    daemon_pid=$!
    assert_log 'Listening on'
}

# scenario: Python on standard input, with all of manager.py; what it has started
# ends with it.
scenario() {
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$top_srcdir/tests/helpers python3 -c '
import sys
from manager import *
exec(compile(sys.stdin.read(), "scenario", "exec"))' 3>&-
}

two='region r { size = 4M }
region s { size = 2M }
device one { shm 0 { region = r } }
device two { shm 0 { region = s } }'

# --- sockets --------------------------------------------------------------------

@test "systemd-socket-activate: sockets go to the devices of their names, and the control socket" {
    configured <<<"$two"
    # shellcheck disable=SC2086 # words
    activate --fdname=two:control:one -l "$PWD/2" -l "$PWD/c" -l "$PWD/1" -- $DAEMON
    # It starts with the first who connects.
    refute_log 'version'
    vuctl --socket "$PWD/1" negotiate get-shmem-config size=4M
    vuctl --socket "$PWD/2" negotiate get-shmem-config size=2M
    control=$PWD/c
    assert_equal "$(status_of 'device("one")["socket"]')" "$PWD/1"
    # They are not ours to remove.
    stop_daemon TERM
    [[ -S 1 && -S 2 && -S c ]]
}

@test "the one device of a command line takes the one socket, whatever its name" {
    activate -l "$BATS_TEST_TMPDIR/any" -- "$SHMEMD" --worker="$SHMEMD_WORKER" --region=shmid=0,size=4M
    vuctl --socket "$BATS_TEST_TMPDIR/any" negotiate get-shmem-config size=4M
}

@test "a socket that is handed over goes before a path, and --fd before it" {
    configured <<<"region r { size = 4M }
device one { socket = $BATS_TEST_TMPDIR/never shm 0 { region = r } }"
    scenario <<'END'
m = Manager().start([("one", listen("one"))])
m.hear_until("READY")
assert not os.path.exists("never") and os.path.exists(os.environ["control"])
m.stop()
assert os.path.exists("one") and not os.path.exists(os.environ["control"])

os.environ["DAEMON"] = os.environ["DAEMON"].split(" --config=")[0]
region = "--region=shmid=0,size=4M"
m.store = []
handed, own = listen("handed"), listen("own")
m.start([("x", handed), ("control", own)],
        arguments=[region, "--socket-path=" + os.path.abspath("never")])
m.hear_until("READY")
assert not os.path.exists("never")
m.stop()
m.store = []
m.start([("x", handed), ("y", own)], arguments=[region, "--fd=4"]).stop(1)
m.start([("x", handed), ("", own)], arguments=[region, "--fd=4"],
        LISTEN_FDS="1", LISTEN_FDNAMES="x").hear_until("READY")
handed.close()
os.unlink("handed")
assert vuctl("own", "up") == 0
m.stop()
END
    assert_log 'LISTEN_FDS: descriptor 3, a socket called "x", is of no device'
}

@test "what is no listening UNIX stream socket, or is of no device, is refused by its name" {
    configured <<<"$two"
    scenario <<'END'
m = Manager()
good = [("one", listen("1")), ("two", listen("2"))]
def refused(*handed, **more):
    m.start(list(handed), **more).stop(1)
refused(*good, ("three", listen("3")))
refused(("one", listen("4")), ("one", good[1][1]))
refused(*good, ("datagram", socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)))
refused(*good, ("inet", socket.socket(socket.AF_INET, socket.SOCK_STREAM)))
refused(*good, ("connected", socket.socketpair()[0]))
refused(*good, ("pipe", os.pipe()[0]))
refused(*good, ("file", open("/etc/passwd")))
refused(good[0])
refused(*good, names=False)
# What is for another process is nobody's here.
refused(*good, pid="1")
refused(*good, pid="x")
for number in ("x", "-1", "99999"):
    refused(*good, LISTEN_FDS=number)
refused(good[0], LISTEN_FDS="2", names=False)
assert m.store == [] and m.said == []
END
    assert_log 'descriptor 5, a socket called "three", is of no device: FileDescriptorName= '
    assert_log 'descriptor 4, called "one", is the second socket of that name'
    assert_log 'descriptor 5, called "datagram", is not a UNIX stream socket'
    assert_log 'descriptor 5, called "inet", is not a UNIX stream socket'
    assert_log 'descriptor 5, called "connected", does not listen'
    assert_log 'descriptor 5, called "pipe", is neither a socket nor memory'
    assert_log 'descriptor 5, called "file", is neither a socket nor memory'
    assert_log ':5: device two: socket is missing'
    assert_log ':4: device one: socket is missing'
    assert_log 'LISTEN_PID=x: not a number'
    assert_log 'LISTEN_FDS=x: not a number'
    assert_log 'LISTEN_FDS=-1: not a number'
    assert_log 'LISTEN_FDS=99999: more than 8192'
    assert_log 'descriptor 4, called "unknown", is not open'
}

@test "a device that a reload removes and another brings back has its socket again" {
    configured <<<"$two"
    cp "$conf" both
    grep -v 'device two' both >one
    # Of no meaning here, and no other socket because of it.
    sed 's/device one {/& socket-mode = 0640/' both >mode
    scenario <<'END'
import shutil
m = Manager().start([("one", listen("1")), ("two", listen("2"))])
m.hear_until("READY")
children = open(f"/proc/{m.process.pid}/task/{m.process.pid}/children").read().split()
builder = next(c for c in children if "builder" in open(f"/proc/{c}/comm").read())
held = len(os.listdir(f"/proc/{builder}/fd"))
for which in ("one", "both", "both", "mode", "one", "both"):
    shutil.copy(which, os.environ["conf"])
    m.reload()
    assert vuctl("1", "up") == 0
    assert which == "one" or vuctl("2", "up") == 0
    assert len(os.listdir(f"/proc/{builder}/fd")) == held
m.stop()
END
}

# --- what it is told ---------------------------------------------------------------

@test "READY comes when all is served and kept, RELOADING and READY around a reload, and STOPPING" {
    configured <<<"$two"
    cp "$conf" good
    scenario <<'END'
import shutil
m = Manager().start([("one", listen("1")), ("two", listen("2"))])
m.hear_until("READY", "1")
assert m.names() == ["r", "s"], m.store
m.hear_until("STATUS", "2 devices, 2 regions, 0 front-ends connected")
front_end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
front_end.connect("1")
m.hear_until("STATUS", "2 devices, 2 regions, 1 front-end connected")
front_end.close()
m.hear_until("STATUS", "2 devices, 2 regions, 0 front-ends connected")
m.process.send_signal(signal.SIGHUP)
said = m.hear_until("RELOADING", "1")
assert abs(int(said["MONOTONIC_USEC"]) / 1e6 - time.clock_gettime(time.CLOCK_MONOTONIC)) < TIMEOUT
m.hear_until("READY")
# One that fails is told, and is over all the same.
with open(os.environ["conf"], "a") as f:
    f.write("nonsense")
m.reload()
assert m.hear_until("STATUS")["STATUS"].startswith("The last reload failed: " + os.environ["conf"])
shutil.copy("good", os.environ["conf"])
# The name of a file says nothing to the manager.
os.mkdir("conf.d")
with open("conf.d/x\nWATCHDOG=trigger.conf", "w") as f:
    f.write("nonsense")
m.reload()
assert set(m.hear_until("STATUS")) == {"STATUS"}, m.said
shutil.rmtree("conf.d")
m.reload()
m.hear_until("STATUS", "2 devices, 2 regions, 0 front-ends connected")
m.process.terminate()
m.hear_until("STOPPING", "1")
# Not stop(): another signal would come while it ends, or not.
assert m.process.wait(TIMEOUT) == 0
while m.hear(0):
    pass
assert m.names() == ["r", "s"]
END
}

@test "a configuration that cannot be served: no READY, and nothing that was kept is given up" {
    configured <<<"$two"
    scenario <<'END'
m = Manager()
handed = [("one", listen("1")), ("two", listen("2"))]
m.start(handed).hear_until("READY")
m.write("r", b"precious")
m.stop()
good = open(os.environ["conf"]).read()
for bad in (good.replace("4M", "4X"), good + "region x { size = 8191P }", ""):
    with open(os.environ["conf"], "w") as f:
        f.write(bad)
    m.start(handed).stop(1)
    assert m.names() == ["r", "s"] and m.said == [], m.said
with open(os.environ["conf"], "w") as f:
    f.write(good)
m.start(handed).hear_until("READY")
assert m.read("r", 8) == b"precious"
m.stop()
END
}

@test "no READY when the builder ends before anything is served" {
    configured <<<'region r { size = 1G prealloc = yes }
device one { shm 0 { region = r } }'
    scenario <<'END'
m = Manager().start([("one", listen("1"))])
# On a busy machine this process has to be there before the builder is done.
os.setpriority(os.PRIO_PROCESS, m.process.pid, 10)
end = time.monotonic() + TIMEOUT
while m.process.poll() is None and time.monotonic() < end:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = open(f"/proc/{pid}/stat").read()
        except OSError:
            continue
        # It has begun when it has a child.
        if "(shmemd-builder)" in stat and stat.rpartition(") ")[2].split()[1] == str(m.process.pid):
            if open(f"/proc/{pid}/task/{pid}/children").read():
                os.kill(int(pid), signal.SIGKILL)
m.stop(1)
assert not any("READY" in said for said in m.said), m.said
END
    assert_log 'the builder was ended from outside'
}

@test "the watchdog is told twice in its time, by the process that it is about" {
    configured <<<"$two"
    scenario <<'END'
m = Manager()
handed = [("one", listen("1")), ("two", listen("2"))]
# Ten take nine times 200 ms at least, however late they are heard.
begin = time.monotonic()
m.start(handed, WATCHDOG_USEC="400000").hear_until("READY")
for _ in range(10):
    m.hear_until("WATCHDOG", "1")
assert 1.7 < time.monotonic() - begin
m.process.send_signal(signal.SIGSTOP)
m.until_stopped()
# Three times as long as it would wait.
m.quiet("WATCHDOG", 0.6)
m.process.send_signal(signal.SIGCONT)
m.hear_until("WATCHDOG", "1")
m.stop()
m.start(handed, WATCHDOG_USEC="200000", WATCHDOG_PID="1").hear_until("READY")
m.quiet("WATCHDOG", 0.5)
m.stop()
END
}

@test "a manager that does not read holds nobody up, and hears everything when it does" {
    configured < <(printf 'region r%u { size = 4K }\n' {1..300}
        echo 'device one { shm 0 { region = r1 } type = raw front-end = rust-vmm }')
    scenario <<'END'
handed = [("one", listen("1"))]
m = Manager().start(handed)
assert vuctl("1", "up") == 0 and vuctl("1", "up") == 0
m.hear_until("READY")
m.stop()
m.store = []
m.start(handed)
assert vuctl("1", "up") == 0
m.hear_until("READY")
assert len(m.store) == 300 and len(set(m.names())) == 300
m.stop()
END
}

@test "a manager that has gone is told of once, and all is served" {
    configured <<<"$two"
    scenario <<'END'
m = Manager().start([("one", listen("1")), ("two", listen("2"))])
m.hear_until("STATUS")
m.sock.close()
assert vuctl("1", "up") == 0 and vuctl("1", "up") == 0
m.process.send_signal(signal.SIGHUP)
assert vuctl("2", "up") == 0
m.process.terminate()
assert m.process.wait(TIMEOUT) == 0
m.path = "/nowhere"
m.start([("one", listen("3")), ("two", listen("4"))])
assert m.process.wait(TIMEOUT) == 1
END
    assert_equal "$(grep -c 'the service manager cannot be told anything any more' "$log")" 1
    assert_log 'NOTIFY_SOCKET=/nowhere: No such file'
}

# --- memory ------------------------------------------------------------------------

@test "regions have what was in them after a restart, those loaded from an image too" {
    head -c 3M /dev/urandom >"$BATS_TEST_TMPDIR/image"
    configured <<<"region r { size = 4M }
region i { image = $BATS_TEST_TMPDIR/image }
region ro { image = $BATS_TEST_TMPDIR/image access = read-only }
region f { file = $BATS_TEST_TMPDIR/file size = 2M create = yes }
region z { size = 2M on-release = zero }
region d { size = 2M on-release = discard }
device one { type = raw front-end = rust-vmm shm 0 { region = r } shm 1 { region = i } shm 2 { region = ro }
shm 3 { region = f } shm 4 { region = z } shm 5 { region = d } }"
    scenario <<'END'
def attach(region):
    c = subprocess.run([os.environ["top_builddir"] + "/vhost-shmemctl", "attach",
                        "--control=" + os.environ["control"], "--stdout", region], capture_output=True)
    assert c.returncode == 0, c.stderr
    return c.stdout
m = Manager()
handed = [("one", listen("1"))]
m.start(handed).hear_until("READY")
# Files keep themselves, and what is erased is not kept.
assert m.names() == ["i", "r", "ro"], m.store
m.write("r", b"guest's")
m.write("i", b"changed")
status = os.environ["top_builddir"] + "/vhost-shmemctl status --json --control=" + os.environ["control"]
def kept():
    import json
    regions = json.loads(subprocess.check_output(status.split()))["regions"]
    return sorted(r["name"] for r in regions if r["kept"])
assert kept() == ["i", "r", "ro"], kept()
before = m.store
for end in (m.stop, m.kill):
    end()
    m.start(handed).hear_until("READY")
    assert m.store == before and not any("FDSTORE" in s for s in m.said), m.said
    assert kept() == ["i", "r", "ro"], kept()
    assert attach("r")[:7] == b"guest's" and attach("i")[:7] == b"changed"
    assert attach("ro")[: 3 << 20] == open("image", "rb").read()
    # It is the same memory, and not a copy.
    m.write("i", b"another")
    assert attach("i")[:7] == b"another"
    m.write("i", b"changed")
m.stop()
END
    assert_log 'region r: 4194304 bytes, with what was in it$'
    assert_log 'region ro: .*, with what was in it, read-only'
    refute_log 'is given up'
}

@test "what does not fit the configuration any more is told of, given up, and made anew" {
    head -c 3M /dev/urandom >"$BATS_TEST_TMPDIR/image"
    configured <<<"region size { size = 4M }
region image { image = $BATS_TEST_TMPDIR/image access = read-only }
region gone { size = 2M }
region zero { size = 2M }
region file { size = 2M }
region stays { size = 2M }
device one { type = raw front-end = rust-vmm shm 0 { region = size } shm 1 { region = image }
shm 3 { region = zero } shm 4 { region = file } shm 5 { region = stays } }"
    scenario <<'END'
m = Manager()
handed = [("one", listen("1"))]
m.start(handed).hear_until("READY")
for name in ("size", "gone", "zero", "file", "stays"):
    m.write(name, name.encode())
m.stop()
old = dict(m.store)
with open("image", "ab") as f:
    f.write(b"more")
conf = open(os.environ["conf"]).read()
conf = conf.replace("size { size = 4M", "size { size = 8M")
conf = conf.replace("region gone { size = 2M }\n", "").replace("zero { size = 2M", "zero { size = 2M on-release = zero")
conf = conf.replace("file { size = 2M", f"file {{ file = {os.getcwd()}/file create = yes size = 2M")
with open(os.environ["conf"], "w") as f:
    f.write(conf)
m.start(handed).hear_until("READY")
assert m.names() == ["image", "size", "stays"], m.store
assert [n for n, _ in m.store if n in old] == [m.kept("stays")[0]]
assert m.read("size", 4) == bytes(4) and m.read("stays", 5) == b"stays"
m.stop()
END
    assert_log 'warn: region.size.*given up: size, image or other keys of the region are not what they were'
    assert_log 'warn: region.image.*given up: size, image or other keys'
    assert_log 'warn: region.gone.*given up: there is no such region any more'
    assert_log 'warn: region.zero.*given up: on-release says so'
    assert_log 'warn: region.file.*given up: the region is a file now'
    refute_log 'region.stays.*given up'
}

@test "memory of the right name that is not sealed, sized or opened as ours is not taken back" {
    echo content >"$BATS_TEST_TMPDIR/image"
    configured <<<"region r { size = 4M }
region ro { image = $BATS_TEST_TMPDIR/image access = read-only }
device one { type = raw front-end = rust-vmm shm 0 { region = r } shm 1 { region = ro } }"
    scenario <<'END'
m = Manager()
handed = [("one", listen("1"))]
m.start(handed).hear_until("READY")
m.stop()
good = dict(m.store)
r, ro = m.kept("r")[0], m.kept("ro")[0]
WRITE = fcntl.F_SEAL_WRITE
bad = [
    (r, memory(2 << 20)),
    (r, memory(4 << 20, 0)),
    (r, memory(4 << 20, SIZE_SEALS & ~fcntl.F_SEAL_SEAL)),
    (r, memory(4 << 20, SIZE_SEALS & ~fcntl.F_SEAL_SHRINK)),
    (r, memory(4 << 20, SIZE_SEALS | WRITE)),
    (r, os.open(f"/proc/self/fd/{good[r]}", os.O_RDONLY)),
    (ro, memory(4096)),
    (ro, memory(4096, SIZE_SEALS | WRITE)),
    ("nonsense", memory(4096)),
    ("region.", memory(4096)),
    ("region.r", memory(4096)),
]
for name, fd in bad:
    m.store = [(name, fd)]
    m.start(handed).hear_until("READY")
    assert m.names() == ["r", "ro"] and fd not in dict(m.store).values(), (name, m.said)
    m.stop()
# Twice the same name: one of them is taken, the other given up.
m.store = [(r, good[r]), (r, memory(4 << 20))]
m.start(handed).hear_until("READY")
m.stop()
assert good[r] in [f for n, f in m.store if n == r] and "ro" in m.names()
END
    for why in 'its size is another one' 'its size can be changed' 'it cannot be written to' 'it can be written to' \
        'it is not open as it has to be'; do
        assert_log "region ro?: what the service manager has kept of it is not taken back: $why"
    done
}

@test "a reload gives up the memory of regions that go, and keeps that of new ones" {
    configured <<<"$two"
    scenario <<'END'
m = Manager().start([("one", listen("1")), ("two", listen("2"))])
m.hear_until("READY")
front_end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
front_end.connect("1")
m.hear_until("STATUS", "2 devices, 2 regions, 1 front-end connected")
first = m.kept("r")
text = open(os.environ["conf"]).read()
def conf(*change):
    with open(os.environ["conf"], "w") as f:
        f.write(text.replace(*change))
    m.reload()
# The front-end still has the old one; the next start will not.
conf("r { size = 4M", "r { size = 8M")
assert m.names() == ["r", "s"] and m.kept("r")[0] != first[0]
conf("4M }", "4M on-release = discard }")
assert m.names() == ["s"], m.store
conf("on-release", "")
assert m.names() == ["r", "s"] and m.kept("r")[0] == first[0]
front_end.close()
m.hear_until("STATUS", "2 devices, 2 regions, 0 front-ends connected")
assert m.names() == ["r", "s"], m.store
m.write("r", b"new one")
m.stop()
m.start([("one", listen("3")), ("two", listen("4"))]).hear_until("READY")
assert m.read("r", 7) == b"new one"
m.stop()
END
    refute_log 'is given up'
}
