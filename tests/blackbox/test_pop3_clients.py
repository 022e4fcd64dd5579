"""Real POP3 clients with --allow-delete and a cache: each fetches all, byte
for byte, several at once, while mail arrives and another client changes
flags."""

import poplib
import subprocess
import threading

import model
from certs import certificates
from mailtest import DEADLINE, POP3, TestCase
from superservers import tool, tool_libraries

TEXTS = [b"From: joe@example.com\nTo: ann@example.org\nSubject: %d\n"
         b"Message-ID: <%d@example.com>\n"
         b"Date: Fri, 21 Nov 2025 06:47:00 +0000\n\n"
         b".\n..dots\n.lead\nbody %d\n\nlast\n" % (n, n, n)
         for n in range(1, 6)]


class Fetching(TestCase):
    def setUp(self):
        super().setUp()
        self.make_maildir()
        for n, text in enumerate(TEXTS, 1):
            self.put(f"new/160000000{n}.x", text)
        self.path("cache").mkdir()
        self.certs = certificates()
        self.server = self.serve(
            POP3, *self.certs.server.options(), "--auth", "any", "--maildir",
            self.mail, "--allow-delete", "--cache-dir", self.path("cache"))

    def run_client(self, *argv, statuses=(0,), env=None):
        done = subprocess.run(
            [str(arg) for arg in argv], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            timeout=4 * DEADLINE, cwd=self.dir,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.dir),
                 "USER": "joe", "LC_ALL": "C.UTF-8", **(env or {})})
        print(done.args, done.stdout, done.stderr.decode("utf-8", "replace"))
        self.assertIn(done.returncode, statuses, done.stderr)
        return done.stdout

    def mda(self):
        """A program that keeps a message in a file of its own."""
        return self.write("mda.sh", f'#!/bin/sh\n'
                          f'cat > "$(mktemp {self.dir}/got.XXXXXX)"\n', 0o700)

    def left(self):
        return sum(path.is_file() for path in self.mail.rglob("*"))

    def assert_fetched(self, texts, left=0):
        """All messages, each with nothing but fields put before it."""
        self.assertEqual(len(texts), len(TEXTS))
        for wanted in TEXTS:
            self.assertEqual(
                [text for text in texts if text.endswith(
                    wanted.partition(b"\n\n")[2])
                 and wanted.partition(b"\n\n")[0].split(b"\n")[2] in text
                 .split(b"\n")] != [], True, wanted)
        self.assertEqual(self.left(), left)
        self.assertEqual(set(self.server.wait_all()), {0})

    def test_fetchmail(self):
        self.write("fetchmailrc", f"""
poll localhost protocol pop3 port {self.server.port} uidl
  user joe password "secret" ssl sslcertfile {self.certs.ca.crt} sslcertck
  mda "{self.mda()}" no rewrite
""")
        self.run_client(tool("fetchmail", "fetchmail"), "-f",
                        self.path("fetchmailrc"), "--nosyslog", "--idfile",
                        self.path("ids"), "--pidfile", self.path("pid"),
                        "--all", env=tool_libraries("fetchmail"))
        self.assert_fetched([path.read_bytes()
                             for path in self.dir.glob("got.*")])

    def test_getmail(self):
        self.write("getmailrc", f"""
[retriever]
type = SimplePOP3SSLRetriever
server = localhost
port = {self.server.port}
username = joe
password = secret
ca_certs = {self.certs.ca.crt}
[destination]
type = MDA_external
path = {self.mda()}
allow_root_commands = true
[options]
delete = true
delivered_to = false
received = false
""")
        self.run_client("getmail", "--getmaildir", self.dir, "--rcfile",
                        self.path("getmailrc"))
        self.assert_fetched([path.read_bytes()
                             for path in self.dir.glob("got.*")])

    def test_mpop(self):
        fetched = self.make_maildir(self.path("fetched"))
        self.write("mpoprc", f"""
account default
host localhost
port {self.server.port}
tls on
tls_starttls off
tls_trust_file {self.certs.ca.crt}
auth plain
user joe
password "secret"
keep off
received_header off
uidls_file {self.path("uidls")}
delivery maildir {fetched}
""")
        self.run_client("mpop", "-C", self.path("mpoprc"))
        got = list(self.stored(fetched).values())
        self.assertEqual(sorted(got), TEXTS)
        self.assert_fetched(got)

    def test_mutt(self):
        """It reads the mailbox over POP3 and copies it into a file."""
        self.write("muttrc", f"""
set pop_host="pops://joe@localhost:{self.server.port}"
set pop_user="joe"
set pop_pass="secret"
set pop_delete=yes
set ssl_starttls=no
set certificate_file="{self.certs.ca.crt}"
set ssl_usesystemcerts=no
set spoolfile="{self.path("inbox")}"
set folder="{self.dir}"
set mbox_type=mbox
push "<fetch-mail><exit>"
""")
        self.path("inbox").write_bytes(b"")
        self.run_client("script", "-qec",
                        "stty cols 80 rows 24; TERM=xterm mutt -n -F "
                        f"{self.path('muttrc')}",
                        "/dev/null")
        inbox = self.path("inbox").read_bytes()
        for n in range(1, 6):
            self.assertEqual(inbox.count(b"\nSubject: %d\n" % n), 1)
            self.assertIn(b"\n.\n..dots\n.lead\nbody %d\n" % n, inbox)
        self.assertEqual(self.left(), 0)

    def test_net_pop3(self):
        out = self.run_client("perl", "-MNet::POP3", "-e", r'''
            $pop = Net::POP3->new("localhost", Port => $ARGV[0], SSL => 1,
                SSL_ca_file => $ARGV[1]) or die "$@";
            defined $pop->login("joe", "secret") or die $pop->message;
            $uidl = $pop->uidl;
            for $n (sort { $a <=> $b } keys %{$pop->list}) {
                print "$n $uidl->{$n}\n", @{$pop->get($n)};
                $pop->delete($n) or die $pop->message;
            }
            $pop->quit or die $pop->message;
        ''', self.server.port, self.certs.ca.crt)
        self.assertEqual(out.replace(b"\r", b""), b"".join(
            b"%d 160000000%d.x\n" % (n, n) + text
            for n, text in enumerate(TEXTS, 1)))
        self.assertEqual(self.left(), 0)

    def test_curl(self):
        common = ["curl", "--silent", "--show-error", "--cacert",
                  self.certs.ca.crt, "--user", "joe:secret"]
        url = f"pop3s://localhost:{self.server.port}/"
        for n, text in enumerate(TEXTS, 1):
            # Always the first that is left
            self.assertEqual(self.run_client(*common, url + "1"),
                             text.replace(b"\n", b"\r\n"))
            self.run_client(*common, "-X", "DELE 1", "--head", url)
            self.assertEqual(self.left(), len(TEXTS) - n)

    def test_poplib(self):
        pop = poplib.POP3_SSL("localhost", self.server.port,
                              context=self.certs.client_context(),
                              timeout=DEADLINE)
        self.assertIn(b"+OK", pop.utf8())
        pop.user("j\u00f6")
        pop.pass_("gr\u00fc\u00df")
        for n, text in enumerate(TEXTS, 1):
            _, lines, octets = pop.retr(n)
            self.assertEqual(b"".join(line + b"\n" for line in lines), text)
            self.assertEqual(octets, model.octets(text))
            pop.dele(n)
        pop.rset()
        for n in range(1, 6):
            pop.dele(n)
        # Stalwart's failure: the reply to QUIT lost in TLS
        self.assertTrue(pop.quit().startswith(b"+OK"))
        self.assertEqual(self.left(), 0)


class Together(TestCase):
    def test_while_mail_arrives_and_flags_change(self):
        """What a session listed it can retrieve, whole, whoever else is
        there."""
        self.make_maildir()
        for n in range(100):
            self.put(f"new/16000{n:05}.x", TEXTS[n % 5])
        self.path("cache").mkdir()
        stop = threading.Event()

        def deliver():
            while not stop.is_set():
                smtp = self.smtp().ready()
                for n in range(10):
                    smtp.message(b"Subject: new %d\n\nnew\n" % n)
                smtp.quit()
                smtp.close()

        def change_flags():
            turn = 0
            while not stop.is_set():
                turn += 1
                for folder in ("new", "cur"):
                    for path in list((self.mail / folder).iterdir()):
                        base = path.name.partition(":2,")[0]
                        path.rename(self.mail / f"cur/{base}:2,"
                                    f"{('', 'S', 'FS')[turn % 3]}")
                        stop.wait(0.001)

        others = [threading.Thread(target=deliver),
                  threading.Thread(target=change_flags)]
        for thread in others:
            thread.start()
        try:
            for turn in range(4):
                pops = [self.pop3("--cache-dir", self.path("cache")).login()
                        for _ in range(3)]
                for pop in pops:
                    uids, sizes = pop.listing("UIDL"), pop.listing("LIST")
                    self.assertEqual(len(set(uids.values())), len(uids))
                    self.assertGreaterEqual(len(uids), 100, turn)
                    for n in list(uids)[:150]:
                        octets, wire = pop.retr(n)
                        self.assertEqual(octets, int(sizes[n]))
                        if uids[n].startswith("16000"):
                            self.assertEqual(wire, model.retr(
                                TEXTS[int(uids[n][5:10]) % 5]))
                    pop.quit()
                    self.assertEqual(pop.exit_status(), 0)
        finally:
            stop.set()
            for thread in others:
                thread.join()
