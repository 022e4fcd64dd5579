"""Debian's Dovecot: LMTP as a next hop, and the logins of Postfix as one."""

from installed import Installed
from mailtest import free_port

CONFIG = """\
base_dir = {work}/run
state_dir = {work}/state
log_path = {work}/out
instance_name = hop-{port}
protocols = lmtp
listen = 127.0.0.1
ssl = no
hostname = dovecot.test
auth_mechanisms = plain login
auth_verbose = yes
auth_failure_delay = 0
default_internal_user = dovecot
default_login_user = dovenull
default_internal_group = dovecot
first_valid_uid = 64912
mail_location = maildir:~/Maildir
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {work}/users
}}
userdb {{
  driver = passwd-file
  args = {work}/users
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  unix_listener {work}/lmtp {{
    mode = 0666
  }}
}}
service auth {{
  unix_listener {work}/auth {{
    mode = 0666
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
{more}
"""


class Dovecot(Installed):
    """users of it are name: password; more: what else it shall be told."""

    package = "dovecot-lmtpd"
    users = {"dovecot": 64910, "dovenull": 64911, "vmail": 64912}
    prepare = "mkdir home && chown 64912:64912 home"

    def __init__(self, test, logins, more=""):
        super().__init__(test)
        self.port = free_port()
        self.lmtp = self.work / "lmtp"
        self.auth = self.work / "auth"
        (self.work / "users").write_text("".join(
            f"{name}:{password}:64912:64912::{self.home(name)}::\n"
            for name, password in logins.items()))
        (self.work / "conf").write_text(CONFIG.format(
            work=self.work, port=self.port, more=more))
        self.start("dovecot", "-F", "-c", self.work / "conf")

    def home(self, name):
        return self.work / "home" / name

    def ready(self):
        return self.lmtp.exists() and self.auth.exists()
