"""smtp-handler --relay by tokens, XOAUTH2 and OAUTHBEARER (RFC 7628), to
Debian's Postfix with the SASL of Debian's Dovecot, which looks at them as a
provider does.  mail-handlers.conf(5), Accounts for sending on."""

import base64
import hashlib
import hmac
import json
import pathlib
import tempfile
import time

from certs import certificates
from dovecot import Dovecot, versions
from hops import Hops, letters
from mailtest import free_port, shared_folder
from postfix import Postfix

SERVICES = """\
127.0.0.1:{smtps} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:{smtp} inet n - n - - smtpd -o smtpd_tls_security_level=may
"""
OLD = """\
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2
}}
"""
OLD_OAUTH2 = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
"""
NEW = """\
oauth2 {{
  introspection_mode = local
  oauth2_local_validation {{
    dict fs {{
      fs posix {{
        prefix = {folder}/keys/
      }}
    }}
  }}
}}
"""
QUEUED = rb"250 2\.0\.0 Ok: queued as [0-9A-F]+"
KEY = b"what the provider signs tokens with"


def part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(address, lasts=600, key=KEY, more=None):
    """A JSON Web Token (RFC 7519), signed."""
    now = int(time.time())
    signed = b".".join(part(json.dumps(claims).encode()) for claims in (
        {"alg": "HS256", "typ": "JWT"},
        {"sub": address, "email": address, "iat": now - 1200,
         "exp": now + lasts, **(more or {})}))
    return (signed + b"." + part(hmac.new(
        key, signed, hashlib.sha256).digest())).decode()


class ToPostfix(Hops):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        certs = certificates()
        cls.ports = {name: free_port() for name in ("smtps", "smtp")}
        folder = pathlib.Path(tempfile.mkdtemp(dir=shared_folder()))
        folder.chmod(0o755)
        keys = folder / "keys/default/HS256"
        keys.mkdir(parents=True)
        (keys / "default").write_bytes(base64.b64encode(KEY))
        (folder / "oauth2").write_text(OLD_OAUTH2.format(folder=folder))
        cls.dovecot = Dovecot(
            cls, {"relay-user": "relay-secret"},
            "auth_mechanisms = plain login xoauth2 oauthbearer\n" +
            (NEW if versions() else OLD).format(folder=folder))
        cls.postfix = Postfix(
            cls, SERVICES.format(**cls.ports), **{
                "smtpd_sasl_auth_enable": "yes",
                "smtpd_sasl_type": "dovecot",
                "smtpd_sasl_path": cls.dovecot.auth,
                "smtpd_tls_auth_only": "yes",
                "smtpd_tls_chain_files":
                    f"{certs.server.key}, {certs.server.crt}",
                "mynetworks": "192.0.2.255/32",
                "smtpd_recipient_restrictions":
                    "permit_sasl_authenticated, reject",
                "virtual_mailbox_domains": "example.org",
                "virtual_mailbox_maps":
                    "inline:{{ann@example.org = ann/}}"})

    def setUp(self):
        super().setUp()
        self.addCleanup(lambda: print(self.postfix.log(),
                                      self.dovecot.log()))

    def log_in(self, scheme, mechanism, secret):
        """A session whose account has this token, from a helper."""
        helper = self.fresh_path("helper")
        self.write(helper.name, f"#!/bin/sh\necho {secret}\n", 0o755)
        return self.relay(self.account_at(
            scheme, self.ports[scheme],
            f"?ca={self.certs.ca.crt}&auth={mechanism}",
            f"joe@example.com exec:{helper}"), "--transcript")

    def each(self):
        for scheme in ("smtps", "smtp"):
            for mechanism in ("xoauth2", "oauthbearer"):
                yield scheme, mechanism

    def test_good_tokens(self):
        (letter,) = letters({"by a token": b"\nx\n"}).values()
        long = {"roles": ["x" * 100] * 20}
        for scheme, mechanism in self.each():
            for more in ({}, long):
                with self.subTest(scheme=scheme, mechanism=mechanism,
                                  long=bool(more)):
                    secret = token("joe@example.com", more=more)
                    self.assertEqual(len(secret) > 500, bool(more))
                    smtp = self.log_in(scheme, mechanism, secret)
                    self.sent(smtp, letter, "ann@example.org", reply=QUEUED)
                    smtp.quit()
                    fields, _ = self.arrived(self.postfix.mail / "ann")
                    self.assertIn("with ESMTPSA", fields[3])
                    self.assertIn(
                        f"sasl_method={mechanism.upper()}, "
                        "sasl_username=joe@example.com", self.postfix.log())

    def test_bad_tokens(self):
        """Expired, forged, somebody else's, and none at all."""
        for scheme, mechanism in self.each():
            for secret in (token("joe@example.com", lasts=-600),
                           token("joe@example.com", key=b"another"),
                           token("eve@example.com"), "no-token"):
                with self.subTest(mechanism=mechanism, secret=secret):
                    smtp = self.log_in(scheme, mechanism, secret)
                    smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                    smtp.expect("RCPT TO:<ann@example.org>", "451 4.7.0")
                    smtp.quit()
                    self.assertEqual(smtp.exit_status(), 0)
                    log = smtp.process.log()
                    self.assertRegex(
                        log, r"localhost answered AUTH with 535 5\.7\.8 "
                        # Dovecot 2.4 has none for another's token
                        rf"\({mechanism.upper()}(, status \w+)?\)")
                    self.assertNotIn(secret, log)

    def test_passwords_are_no_tokens(self):
        """Without ?auth= it is PLAIN, whatever else is offered."""
        (letter,) = letters({"by PLAIN": b"\nx\n"}).values()
        smtp = self.relay(self.account_at("smtps", self.ports["smtps"]))
        self.sent(smtp, letter, "ann@example.org", reply=QUEUED)
        self.arrived(self.postfix.mail / "ann")
        self.assertIn("sasl_method=PLAIN, sasl_username=relay-user",
                      self.postfix.log())


del Hops
