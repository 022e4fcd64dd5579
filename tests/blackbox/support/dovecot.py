"""Debian's Dovecot: LMTP as a next hop, and the logins of Postfix as one."""

import re

from installed import Installed
from mailtest import TOOLS, free_port

CONFIG = """\
{dialect}
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
service lmtp {{
  inet_listener lmtp {{
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


# What is written otherwise before version 2.4 and since; of the quota, its
# names for storage and for the number of messages too
OLD = """\
mail_location = maildir:~/Maildir
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {work}/users
}}
userdb {{
  driver = passwd-file
  args = {work}/users
}}
"""
OLD_QUOTA = """\
protocol lmtp {{
  mail_plugins = quota
}}
plugin {{
  quota = maildir:All
  quota_rule = *:{name}={limit}
  quota_grace = 0
}}
"""
NEW = """\
{versions}
mail_driver = maildir
mail_path = ~/Maildir
passdb passwd-file {{
  passwd_file_path = {work}/users
  default_password_scheme = PLAIN
}}
userdb passwd-file {{
  passwd_file_path = {work}/users
}}
"""
NEW_QUOTA = """\
protocol lmtp {{
  mail_plugins {{
    quota = yes
  }}
}}
quota "All" {{
  driver = maildir
}}
quota_storage_size = unlimited
quota_{name}_{unit} = {limit}
quota_storage_grace = 0
"""


def versions():
    """The lines with which a configuration of 2.4 begins; before, none."""
    sample = TOOLS / "dovecot-lmtpd/usr/share/dovecot/dovecot.conf"
    return "\n".join(re.findall(r"(?m)^dovecot_\w+_version = .*",
                                sample.read_text()))


def quota(storage=None, messages=None):
    """Settings: so much for each user."""
    name = "storage" if storage else "message"
    if versions():
        return NEW_QUOTA.format(name=name, limit=storage or messages,
                                unit="size" if storage else "count")
    return OLD_QUOTA.format(name="storage" if storage else "messages",
                            limit=storage or messages)


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
        dialect = (NEW if versions() else OLD).format(
            work=self.work, versions=versions())
        (self.work / "conf").write_text(CONFIG.format(
            work=self.work, port=self.port, more=more, dialect=dialect))
        self.start("dovecot", "-F", "-c", self.work / "conf")

    def home(self, name):
        return self.work / "home" / name

    def ready(self):
        return self.lmtp.exists() and self.auth.exists()
