"""smtp-handler with real filters: rspamd and opendkim, as Debian has them.
smtp-handler(8), FILTERS."""

import base64
import re
import shutil
import subprocess

import dkim

from filters import Milter
from mailtest import HOST, TOOLS, free_port
from nexthop import ScriptedHop

# Refused by every filter for spam (spamassassin.apache.org/gtube)
GTUBE = ("XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL"
         "*C.34X")
HEADER = ("From: Joe <joe@example.com>\nTo: ann@example.org\n"
          "Subject: a subject\n  that is folded\n"
          "Date: Mon, 30 Nov 2026 22:00:00 +0000\n"
          "Message-ID: <1@example.com>\n")
BODY = "Dear Ann,\n\n.dot\nTrailing  blanks  \n\n\n"


class Real(Milter):
    def setUp(self):
        super().setUp()
        self.tools = TOOLS / self.package
        if not (self.tools / ".complete").exists():
            self.skipTest(f"no {self.package}: tests/setup.sh check")
        self.libraries = ":".join(
            str(path) for path in (
                self.tools / "usr/lib", self.tools / "usr/lib/rspamd",
                *(self.tools / "usr/lib").glob("*-linux-gnu")))


class Rspamd(Real):
    package = "rspamd"
    # What is not there costs time: a network, redis, the long list of
    # domains.
    SETTINGS = {
        "options.inc": 'tempdir = "{run}"; filters = "regexp";\n'
        'pidfile = "{run}/pid"; url_tld = "{etc}/tld";\n'
        'control_socket = "{run}/control mode=0600";\n'
        'dns {{ nameserver = ["127.0.0.1:9:1"]; timeout = 0.05s;\n'
        '    retransmits = 1; }}\n',
        "logging.inc": 'type = "console"; level = "warning";\n',
        "worker-normal.inc": "enabled = false;\n",
        "worker-controller.inc": 'bind_socket = "{run}/c mode=0600";\n'
        'password = "x";\n',
        "worker-proxy.inc": 'bind_socket = "{run}/milter mode=0666";\n'
        'milter = yes; timeout = 20s; count = 1;\n'
        'upstream "local" {{ default = yes; self_scan = yes; }}\n',
        "milter_headers.conf": 'use = ["x-spamd-bar", "x-spam-level",\n'
        '    "authentication-results"]; skip_local = false;\n'
        'skip_authenticated = false;\n',
    }

    def rspamd(self):
        etc, run = self.path("etc"), self.path("run")
        shutil.copytree(self.tools / "etc/rspamd", etc)
        run.mkdir()
        (etc / "tld").write_text("com\norg\n")
        for name, text in self.SETTINGS.items():
            (etc / "local.d" / name).write_text(
                text.format(run=run, etc=etc))
        share = self.tools / "usr/share/rspamd"
        variables = {"LUALIBDIR": share / "lualib", "SHAREDIR": share,
                     "RULESDIR": share / "rules",
                     "PLUGINSDIR": share / "plugins", "DBDIR": run,
                     "RUNDIR": run, "LOGDIR": run, "CONFDIR": etc,
                     "LOCAL_CONFDIR": etc}
        self.start([self.tools / "usr/bin/rspamd", "-i", "-f", "-c",
                    etc / "rspamd.conf",
                    *(f"--var={name}={value}"
                      for name, value in variables.items())],
                   run / "milter", env={"LD_LIBRARY_PATH": self.libraries})
        return f"unix:{run}/milter"

    def test_rspamd(self):
        """GTUBE is refused in rspamd's words, and nothing is kept; other mail
        has its headers, more than once in a session."""
        smtp = self.session(self.rspamd())
        reply = smtp.message(f"{HEADER}\n{GTUBE}\n")
        self.assertEqual((str(reply), reply.texts),
                         ("554 5.7.1", ["Gtube pattern"]))
        self.assert_nothing_kept()
        for n in range(2):
            self.assertEqual(str(smtp.message(f"{HEADER}\n{BODY}")),
                             "250 2.0.0")
        smtp.quit()
        for content in self.stored().values():
            head, _, body = content.decode().partition("\n\n")
            self.assertEqual(body, BODY)
            self.assertRegex(head, r"\nX-Spamd-Bar: \S+")
            self.assertRegex(head, rf"\nAuthentication-Results: {HOST};")
            self.assertIn(HEADER.rstrip("\n"), head)
        self.assertEqual(len(self.stored()), 2)


class Opendkim(Real):
    package = "opendkim"

    def opendkim(self):
        key = self.path("key")
        subprocess.run(["openssl", "genrsa", "-traditional", "-out", key,
                        "2048"], check=True, stderr=subprocess.DEVNULL)
        public = subprocess.run(
            ["openssl", "rsa", "-in", key, "-pubout", "-outform", "DER"],
            check=True, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL).stdout
        self.record = (b"v=DKIM1; k=rsa; p=" + base64.b64encode(public))
        path = self.path("opendkim.sock")
        settings = self.write("opendkim.conf", (
            "Domain example.com\nSelector sel\nMode s\nSyslog no\n"
            "Canonicalization simple/simple\nRequireSafeKeys no\n"
            f"KeyFile {key}\nSocket local:{path}\n"))
        self.start([self.tools / "usr/sbin/opendkim", "-f", "-x", settings],
                   path, env={"LD_LIBRARY_PATH": self.libraries})
        return f"unix:{path}"

    def assert_signed(self, message):
        """The signature is right over every octet of it."""
        asked = []

        def dns(name, timeout=5):
            asked.append(name)
            return self.record
        self.assertTrue(dkim.verify(message, dnsfunc=dns), message)
        self.assertEqual(asked, [b"sel._domainkey.example.com."])
        self.assertFalse(dkim.verify(message.replace(b"Dear", b"dear"),
                                     dnsfunc=dns))

    def test_opendkim(self):
        """What POP3 serves and what the next hop got verify."""
        hop = ScriptedHop(self)
        relay = self.write("relay", f"* smtp+plain://127.0.0.1:{hop.port}\n")
        smtp = self.session(self.opendkim(), options=("--relay", relay))
        self.assertEqual(str(smtp.message(
            f"{HEADER}\n{BODY}", "joe@example.com")), "250 2.0.0")
        # Another domain's is not signed.
        self.assertEqual(str(smtp.message(
            f"{HEADER}\n{BODY}".replace("example.com", "example.net"),
            "joe@example.net")), "250 2.0.0")
        smtp.quit()
        sent = [message for connection in hop.connections
                for message in connection.messages]
        self.assertEqual(len(sent), 2)

        def unstuffed(wire, end=b".\r\n"):
            self.assertTrue(wire.endswith(b"\r\n" + end))
            return re.sub(rb"(?m)^\.\.", b".", wire[:-len(end)])
        self.assert_signed(unstuffed(sent[0]))
        self.assertNotIn(b"DKIM-Signature", sent[1])
        pop = self.pop3().login()
        served = [unstuffed(pop.retr(n)[1] + b".\r\n") for n in (1, 2)]
        signed = [text for text in served if b"DKIM-Signature" in text]
        self.assertEqual(len(signed), 1)
        self.assert_signed(signed[0])


class Clamav(Real):
    package = "clamav-milter"
    # The file that every scanner takes for a virus (eicar.org), written so
    # that no scanner finds it here
    EICAR = ("X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-"
             + "TEST-FILE!$H+H*")

    def clamav(self, infected):
        """clamd with one signature, and its filter."""
        database = self.path("db")
        database.mkdir()
        (database / "test.ndb").write_text(
            f"Eicar-Test:0:*:{self.EICAR[:40].encode().hex()}\n")
        scanner, port = self.path("clamd.sock"), free_port()
        user = "User root\nForeground yes\n"
        clamd = self.write("clamd.conf", (
            f"{user}LocalSocket {scanner}\nDatabaseDirectory {database}\n"
            f"TemporaryDirectory {self.dir}\n"))
        settings = self.write("clamav-milter.conf", (
            f"{user}ClamdSocket unix:{scanner}\n"
            f"MilterSocket inet:{port}@127.0.0.1\n"
            f"TemporaryDirectory {self.dir}\n{infected}"))
        env = {"LD_LIBRARY_PATH": self.libraries}
        self.start([TOOLS / "clamav-daemon/usr/sbin/clamd", "-c", clamd],
                   scanner, env=env)
        self.start([self.tools / "usr/sbin/clamav-milter", "-c", settings],
                   port=port, env=env)
        return f"inet:{port}@127.0.0.1"

    def test_clamav(self):
        smtp = self.session(self.clamav(
            "OnInfected Reject\nRejectMsg Infected: %v\n"
            "AddHeader Replace\n"))
        reply = smtp.message(f"{HEADER}\n{self.EICAR}\n")
        self.assertEqual((str(reply), reply.texts),
                         ("550 5.7.1", ["Infected: Eicar-Test.UNOFFICIAL"]))
        self.assert_nothing_kept()
        # One that claims to have been looked at
        self.assertEqual(str(smtp.message(
            f"X-Virus-Status: Believe me\n{HEADER}\n{BODY}")), "250 2.0.0")
        smtp.quit()
        content, = self.stored().values()
        head, _, body = content.decode().partition("\n\n")
        self.assertEqual(body, BODY)
        self.assertEqual(re.findall(r"(?m)^X-Virus-Status: (.*)$", head),
                         ["Clean"])

    def test_quarantine(self):
        """By default it wants one of the changes that are not made: the
        message is neither kept nor lost."""
        smtp = self.session(self.clamav("OnInfected Quarantine\n"))
        self.assertEqual(str(smtp.message(f"{HEADER}\n{self.EICAR}\n")),
                         "451 4.7.1")
        self.assert_nothing_kept()
        smtp.quit()
