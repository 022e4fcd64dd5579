"""Other mail servers, whole, from where tests/setup.sh unpacked them: each a
context in which it answers on ports of 127.0.0.1."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
import unittest

import rig

sys.path.insert(0, str(rig.ROOT / "tests/blackbox/support"))
from mailtest import NOBODY, TOOLS, free_port    # noqa: E402, F401
from postfix import Postfix                      # noqa: E402

POSTFIX = TOOLS / "postfix" / "usr"
DOVECOT = [TOOLS / name / "usr" for name in ("dovecot-pop3d",
                                             "dovecot-lmtpd")]

# Dovecot has its paths built in: a namespace where it is under /usr, and where
# our certificate is one of the system's CAs

SYSTEM_CERTS = pathlib.Path("/etc/ssl/certs")
CERTS = rig.WORK / "certs"


def make_system_certs():
    """Those there are, and ours, in the bundle and by its hash."""
    subprocess.run(["rm", "-rf", CERTS], check=True)
    CERTS.mkdir()
    if SYSTEM_CERTS.is_dir():
        subprocess.run(["cp", "-a", f"{SYSTEM_CERTS}/.", CERTS], check=True)
    name = subprocess.run(["openssl", "x509", "-noout", "-hash", "-in",
                           rig.CERT], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()
    (CERTS / f"{name}.0").write_bytes(rig.CERT.read_bytes())
    with open(CERTS / "ca-certificates.crt", "ab") as bundle:
        bundle.write(rig.CERT.read_bytes())


def inside():
    return bool(os.environ.get("BENCH_INSIDE"))


def can_enter():
    if os.geteuid() == 0 and all(path.is_dir() for path in DOVECOT):
        return True
    print("bench: no Dovecot: it needs root and tests/setup.sh bench",
          file=sys.stderr)
    return False


def enter(command):
    lower = ":".join(map(str, DOVECOT))
    script = ('set -e; mount -t overlay overlay -o "lowerdir=$1:/usr" /usr; '
              'mkdir -p "$3"; mount --bind "$2" "$3"; shift 3; exec "$@"')
    return [str(word) for word in
            ["env", "BENCH_INSIDE=yes", "unshare", "-m", "sh", "-c", script,
             "sh", lower, CERTS, SYSTEM_CERTS, *command]]


def answers(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


def wait_for(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} does not come up")
        time.sleep(0.02)


@contextlib.contextmanager
def running(command, port, what, **kwargs):
    """A daemon in the foreground, from when it answers on port."""
    log = open(rig.LOG, "ab")
    with subprocess.Popen([str(word) for word in command],
                          stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                          **kwargs) as process:
        try:
            wait_for(lambda: answers(port) or process.poll() is not None,
                     what)
            yield process
        finally:
            process.terminate()
            process.wait()


DOVECOT_CONF = """\
base_dir = {work}/run
state_dir = {work}/state
log_path = {work}/log
protocols = pop3 lmtp
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
first_valid_uid = 1
mail_location = maildir:{maildir}
mail_fsync = {fsync}
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={work} allow_all_users=yes
}}
service pop3-login {{
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    address = 127.0.0.1
    port = {pop3s}
    ssl = yes
  }}
}}
{more}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {auth}
  }}
}}
"""


# Its documentation's words for not starting a process for each login
HIGH_PERFORMANCE = """\
service pop3-login {
  service_count = 0
  process_min_avail = 2
}
"""


class Ports:
    pass


@contextlib.contextmanager
def dovecot(maildir, fsync="optimized", more=""):
    """All settings but paths are its defaults: pop3-login is a process for
    each connection, as in its high-security mode; unless more says else."""
    work = rig.WORK / f"dovecot-{fsync}{'-more' if more else ''}"
    work.mkdir(exist_ok=True)
    ports = Ports()
    ports.pop3s, ports.lmtp, ports.auth = (free_port() for _ in range(3))
    (work / "dovecot.conf").write_text(DOVECOT_CONF.format(
        work=work, maildir=maildir, fsync=fsync, cert=rig.CERT, key=rig.KEY,
        pop3s=ports.pop3s, lmtp=ports.lmtp, auth=ports.auth, more=more))
    with running(["dovecot", "-F", "-c", work / "dovecot.conf"], ports.lmtp,
                 "Dovecot") as process:
        ports.pid = process.pid
        yield ports
    subprocess.run(["rm", "-rf", work], check=True)


@contextlib.contextmanager
def postfix(more="", **settings):
    """Postfix as the tests have it, its queue on the maildirs' file system
    unless the names of its sockets would be too long there."""
    case = unittest.TestCase()
    folder = rig.WORK if len(str(rig.WORK)) < 60 else None
    quiet = open(os.devnull, "w")
    with quiet, contextlib.redirect_stdout(quiet):
        try:
            yield Postfix(case, more, folder, **settings)
        except unittest.SkipTest as why:
            raise RuntimeError(why) from why
        finally:
            case.doCleanups()


def postfix_environment():
    rig.WORK.joinpath("main.cf").write_text("compatibility_level = 3.6\n")
    return {"LD_LIBRARY_PATH": str(POSTFIX / "lib" / "postfix"),
            "MAIL_CONFIG": str(rig.WORK)}


@contextlib.contextmanager
def smtp_sink():
    """Speaks SMTP and keeps nothing."""
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    with running([POSTFIX / "sbin" / "smtp-sink", *user, f"127.0.0.1:{port}",
                  "100"], port, "smtp-sink", env=postfix_environment()):
        yield port


def smtp_source(port, messages, *options, octets=4000):
    """Seconds that Postfix's client takes for so many messages."""
    start = time.monotonic()
    subprocess.run(
        [POSTFIX / "sbin" / "smtp-source", *options, "-m", str(messages),
         "-l", str(octets), "-f", "a@example.com", "-t", "b@example.com",
         f"127.0.0.1:{port}"], check=True, env=postfix_environment())
    return time.monotonic() - start
