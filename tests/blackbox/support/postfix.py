"""Debian's Postfix, whole, as a client of smtp-handler and as its next
hop."""

from installed import Installed
from mailtest import TOOLS, free_port

MASTER = """\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
127.0.0.1:{port} inet n - n - - smtpd
"""


class Postfix(Installed):
    """Takes mail on port and does with it as settings say; virtual mailboxes
    are below mail.  more: further lines for master.cf."""

    package = "postfix"
    users = {"postfix": 64900}
    groups = {"postdrop": 64901}
    prepare = "mkdir mail && chown 64900 data mail"

    def __init__(self, test, more="", folder=None, **settings):
        super().__init__(test, folder)
        for name in ("etc", "queue", "data"):
            (self.work / name).mkdir()
        self.port = free_port()
        self.mail = self.work / "mail"
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
            "virtual_mailbox_base": self.mail,
            "virtual_uid_maps": "static:64900",
            "virtual_gid_maps": "static:64900", "virtual_mailbox_limit": "0",
            **settings}
        (self.work / "etc" / "main.cf").write_text("".join(
            f"{name} = {value}\n" for name, value in settings.items()))
        (self.work / "etc" / "master.cf").write_text(
            MASTER.format(port=self.port) + more)
        self.start("postfix", "-c", self.work / "etc", "start-fg")

    def ready(self):
        return "daemon started" in self.log()

    def log(self):
        path = self.work / "log"
        return super().log() + (
            path.read_text(errors="replace") if path.exists() else "")
