"""Debian's Postfix, whole, as a client of smtp-handler: it runs from where
tests/setup.sh unpacked it, in a mount namespace of its own in which it is
installed and its users exist."""

import os
import pathlib
import shlex
import signal
import subprocess
import tempfile

from mailtest import DEADLINE, TOOLS, free_port, wait_for

PROGRAMS = TOOLS / "postfix" / "usr"

MASTER = """\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
127.0.0.1:{port} inet n - n - - smtpd
"""

SCRIPT = """\
set -e
mount -t overlay overlay -o lowerdir={programs}:/usr /usr
(cat /etc/passwd; echo postfix:x:64900:64900::/:/bin/false) >{work}/passwd
(cat /etc/group; echo postfix:x:64900:; echo postdrop:x:64901:) >{work}/group
mount --bind {work}/passwd /etc/passwd
mount --bind {work}/group /etc/group
chown 64900 {work}/data
exec postfix -c {work}/etc start-fg >{work}/out 2>&1 </dev/null
"""


class Postfix:
    """Takes mail on port and sends all of it on, as settings say.
    services: more lines for master.cf."""

    def __init__(self, test, services="", folder=None, **settings):
        if os.geteuid() != 0:
            test.skipTest("needs root to give Postfix its users")
        # Its sockets' names must be short
        self.work = pathlib.Path(
            tempfile.mkdtemp(prefix="pf-", dir=folder))
        self.work.chmod(0o755)
        for name in ("etc", "queue", "data"):
            (self.work / name).mkdir()
        self.port = free_port()
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": self.work / "queue",
            "data_directory": self.work / "data",
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "shlib_directory": "/usr/lib/postfix",
            "meta_directory": TOOLS / "postfix" / "etc" / "postfix",
            "setgid_group": "postdrop", "inet_interfaces": "loopback-only",
            "inet_protocols": "ipv4", "mynetworks": "127.0.0.0/8",
            "myhostname": "postfix.test", "mydestination": "",
            "maillog_file": self.work / "log", "alias_maps": "",
            "maillog_file_prefixes": self.work, "notify_classes": "",
            **settings}
        (self.work / "etc" / "main.cf").write_text("".join(
            f"{name} = {value}\n" for name, value in settings.items()))
        (self.work / "etc" / "master.cf").write_text(
            MASTER.format(port=self.port) + services)
        self.process = subprocess.Popen(
            ["unshare", "-m", "-p", "-f", "--mount-proc",
             "--kill-child", "sh", "-c",
             SCRIPT.format(work=shlex.quote(str(self.work)),
                           programs=shlex.quote(str(PROGRAMS)))])
        test.addCleanup(self.stop)
        wait_for(lambda: "daemon started" in self.log() or
                 self.process.poll() is not None, "Postfix")
        test.assertIsNone(self.process.poll(), self.log())

    def log(self):
        path = self.work / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE)
        print(self.log())
        subprocess.run(["rm", "-rf", str(self.work)], check=True)
