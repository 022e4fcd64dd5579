"""tests/examples: programs built from the installed library alone, driven by
real clients.  mailhandlers(3), EXAMPLES."""

import os
import poplib
import signal
import smtplib
import sqlite3
import subprocess
import sys

from certs import certificates
from embedded import (CLANG, CXX, EXAMPLES, GCC, EmbeddedCase, Served, build,
                      flags, installed, sanitized, shared_library)
from mailtest import BUILD, DEADLINE, ROOT, free_port

TEXT = "Subject: x\r\n\r\n.hello\r\n"
LARGE = "Subject: large\r\n\r\n" + "".join(
    f".line {i}\r\n" for i in range(50000))

CXX_PROGRAM = """\
#include <mailhandlers.h>
#include <cstdio>
int main()
{
	mh_options options = mh_options();
	options.size = sizeof(options);
	options.hostname = "h";
	mh_server *server = mh_server_new();
	std::printf("%d\\n", server != nullptr && mh_core_size(&options) > 0);
	mh_server_free(server);
}
"""


class Built(EmbeddedCase):
    """Every compiler, and either library."""

    def run_program(self, program):
        return subprocess.run(
            [program], capture_output=True, text=True, check=True,
            timeout=DEADLINE, env={"LD_LIBRARY_PATH":
                                   str(shared_library().parent)}).stdout

    def test_flags(self):
        self.assertIn("-lmailhandlers", flags("--libs"))
        self.assertEqual(flags("--modversion"), ["0.1.0"])

    def test_soname(self):
        dynamic = subprocess.run(["readelf", "-d", shared_library()],
                                 capture_output=True, text=True, check=True)
        self.assertIn("Library soname: [libmailhandlers.so.0]",
                      dynamic.stdout)

    def test_own_names_do_not_collide(self):
        for compiler in GCC, CLANG:
            for static in False, True:
                if sanitized() and compiler == CLANG:
                    continue        # another compiler's runtime
                program = build(EXAMPLES / "own_names.c", compiler, static)
                self.assertEqual(self.run_program(program), "7\n")

    def test_cxx(self):
        source = self.write("program.cc", CXX_PROGRAM)
        for static in False, True:
            self.assertEqual(self.run_program(build(source, CXX, static)),
                             "1\n")

    def test_all_examples_by_both_compilers(self):
        for source in sorted(EXAMPLES.glob("*.c")):
            more = ["-lsqlite3"] if source.stem == "store" else []
            for compiler in GCC, CLANG:
                if sanitized() and compiler == CLANG:
                    continue
                build(source, compiler, static=True, more=more)

    def test_header_alone(self):
        for compiler in (*GCC, "-x", "c"), (*CLANG, "-x", "c"), CXX:
            subprocess.run(
                [*compiler, "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                 installed() / "usr/include/mailhandlers.h"], check=True)


class InOut:
    """in_out.c and in_out.py: mixed into a test case for each."""

    def setUp(self):
        super().setUp()
        self.certs = certificates()
        self.context = self.certs.client_context()
        self.served = self.serve_example(
            *self.program(), self.certs.server.crt, self.certs.server.key,
            ports=4)
        self.smtp, self.smtps, self.pop3, self.pop3s = self.served.ports

    def run_client(self, *argv, text=""):
        done = subprocess.run(
            [str(arg) for arg in argv], input=text, text=True,
            capture_output=True, timeout=DEADLINE, cwd=self.dir,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.dir)})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def send(self, how, text):
        if how == "tls":
            client = smtplib.SMTP_SSL("localhost", self.smtps,
                                      context=self.context)
        else:
            client = smtplib.SMTP("localhost", self.smtp)
        with client:
            if how == "starttls":
                client.starttls(context=self.context)
            client.login("joe", "secret")
            client.sendmail("a@b.example", ["c@d.example"], text)

    def fetch(self, how):
        if how == "tls":
            client = poplib.POP3_SSL("localhost", self.pop3s,
                                     context=self.context)
        else:
            client = poplib.POP3("localhost", self.pop3)
        if how == "starttls":
            client.stls(context=self.context)
        client.user("joe")
        client.pass_("secret")
        count = client.stat()[0]
        mails = ["\r\n".join(line.decode() for line in client.retr(i)[1]) +
                 "\r\n" for i in range(1, count + 1)]
        self.assertEqual(client.uidl()[1],
                         [b"%d m%d" % (i + 1, i) for i in range(count)])
        client.quit()
        return mails

    def test_smtplib_and_poplib(self):
        sent = []
        for how in "plain", "starttls", "tls":
            for text in TEXT, LARGE:
                self.send(how, text)
                sent.append(text)
            self.assertEqual(self.fetch(how), sent)

    def test_wrong_password(self):
        with smtplib.SMTP("localhost", self.smtp) as client:
            with self.assertRaises(smtplib.SMTPAuthenticationError):
                client.login("joe", "wrong!")

    def test_curl(self):
        letter = self.write("letter", LARGE)
        ca = ["--cacert", self.certs.ca.crt, "-s", "-S", "-u", "joe:secret"]
        for port, scheme, more in ((self.smtp, "smtp", ["--ssl-reqd"]),
                                   (self.smtps, "smtps", [])):
            self.run_client("curl", *ca, *more, "--mail-from", "a@b.example",
                            "--mail-rcpt", "c@d.example", "-T", letter,
                            f"{scheme}://localhost:{port}")
        for port, scheme, more in ((self.pop3, "pop3", ["--ssl-reqd"]),
                                   (self.pop3s, "pop3s", [])):
            # curl ends each line as it came
            got = subprocess.run(
                [str(a) for a in ("curl", *ca, *more,
                                  f"{scheme}://localhost:{port}/2")],
                capture_output=True, check=True, timeout=DEADLINE).stdout
            self.assertEqual(got.decode(), LARGE)

    def test_swaks(self):
        for more in ["--tls"], ["--tls-on-connect"]:
            port = self.smtps if "connect" in more[0] else self.smtp
            self.run_client("swaks", "--server", "localhost", "--port", port,
                            *more, "--auth", "LOGIN", "--auth-user", "joe",
                            "--auth-password", "secret", "--from",
                            "a@b.example", "--to", "c@d.example", "--body",
                            "by swaks")
        self.assertTrue(all("by swaks" in mail
                            for mail in self.fetch("plain")))

    def test_openssl(self):
        said = self.run_client(
            "openssl", "s_client", "-quiet", "-verify_return_error",
            "-CAfile", self.certs.ca.crt, "-starttls", "pop3", "-connect",
            f"localhost:{self.pop3}", text="USER joe\r\nPASS secret\r\n"
            "STAT\r\nQUIT\r\n")
        self.assertIn("+OK 0 0\n+OK Bye", said.replace("\r", ""))
        said = self.run_client(
            "openssl", "s_client", "-quiet", "-verify_return_error",
            "-CAfile", self.certs.ca.crt, "-connect",
            f"localhost:{self.smtps}", text="EHLO x\r\nQUIT\r\n")
        self.assertIn("221 2.0.0 Bye", said)

    def test_stopped_in_order(self):
        peers = [smtplib.SMTP("localhost", self.smtp) for _ in range(20)]
        for peer in peers:
            self.addCleanup(peer.close)
            peer.ehlo()
        os.kill(self.served.process.pid, signal.SIGTERM)
        for peer in peers:
            self.assertEqual(peer.getreply(),
                             (421, b"4.3.2 Shutting down"))
        self.assertEqual(self.served.process.wait(DEADLINE), 0)


class InOutC(InOut, EmbeddedCase):
    def program(self):
        return [build(EXAMPLES / "in_out.c")]


class InOutStatic(InOut, EmbeddedCase):
    def program(self):
        return [build(EXAMPLES / "in_out.c", CLANG if not sanitized()
                      else GCC, static=True)]


class InOutPython(InOut, EmbeddedCase):
    def program(self):
        if sanitized():
            self.skipTest("Python does not load a library with sanitizers")
        return [sys.executable, EXAMPLES / "in_out.py", shared_library()]


class Store(EmbeddedCase):
    """Mail in SQLite."""

    def setUp(self):
        super().setUp()
        self.database = self.path("mail.db")
        self.start()
        with self.open() as database:
            database.executemany("INSERT INTO users VALUES (?, ?)",
                                 [("ann", "a-pw"), ("bob", "b-pw")])

    def start(self):
        self.served = self.serve_example(
            build(EXAMPLES / "store.c", more=["-lsqlite3"]), self.database,
            ports=2)

    def open(self):
        return sqlite3.connect(self.database)

    def send(self, *recipients, text=TEXT):
        with smtplib.SMTP("localhost", self.served.ports[0]) as smtp:
            return smtp.sendmail("x@y.example", recipients, text)

    def log_in(self, user, password):
        pop3 = poplib.POP3("localhost", self.served.ports[1])
        self.addCleanup(pop3.close)
        pop3.user(user)
        pop3.pass_(password)
        return pop3

    def test_in_and_out_again(self):
        self.assertEqual(self.send("ann@here", "bob@here", "eve@here"),
                         {"eve@here": (550, b"5.1.1 No such mailbox here")})
        self.send("ann@here", text=LARGE)
        self.served.process.terminate()
        self.assertEqual(self.served.process.wait(DEADLINE), 0)
        self.start()
        ann = self.log_in("ann", "a-pw")
        self.assertEqual(ann.stat(), (2, len(TEXT) + len(LARGE)))
        self.assertEqual(b"\r\n".join(ann.retr(2)[1]) + b"\r\n",
                         LARGE.encode())
        uidl = ann.uidl()[1]
        ann.dele(2)
        ann.quit()
        ann = self.log_in("ann", "a-pw")
        self.assertEqual(ann.uidl()[1], uidl[:1])
        self.assertEqual(b"\r\n".join(ann.retr(1)[1]) + b"\r\n",
                         TEXT.encode())
        self.assertEqual(self.log_in("bob", "b-pw").stat(), (1, len(TEXT)))
        with self.open() as database:
            self.assertEqual(database.execute(
                "SELECT owner, sender, text FROM mails ORDER BY owner"
            ).fetchall(), [
                (name, "x@y.example", TEXT.replace("\r\n", "\n").encode())
                for name in ("ann", "bob")])

    def test_wrong_password(self):
        with self.assertRaisesRegex(poplib.error_proto, r"\[AUTH\]"):
            self.log_in("ann", "b-pw")

    def test_database_in_use(self):
        """Nobody hears 250 of what was not stored."""
        database = sqlite3.connect(self.database, isolation_level=None)
        database.execute("BEGIN EXCLUSIVE")
        with self.assertRaises(smtplib.SMTPException) as caught:
            self.send("ann@here")
        self.assertIn("451", str(caught.exception))
        database.execute("ROLLBACK")
        database.close()
        self.send("ann@here")


class ReadMe(EmbeddedCase):
    """What README.md prints works as it is, but for the port."""

    def section(self, language):
        text = (ROOT / "README.md").read_text()
        section = text.split("## In your own program")[1].split("\n## ")[0]
        code = section.split(f"```{language}\n")[1].split("```")[0]
        self.assertIn("2525", code)
        port = free_port()
        return code.replace("2525", str(port)), port

    def check(self, argv, port):
        served = Served(self, argv, [port])
        with smtplib.SMTP("127.0.0.1", port) as smtp:
            smtp.sendmail("a@b.example", ["c@d.example"], TEXT)
        self.assertIn(TEXT.replace("\r\n", "\n"), served.text())

    def test_c(self):
        code, port = self.section("c")
        source = self.write(f"catch{port}.c", code)
        self.check([build(source, (*GCC[:1], "-std=c17"))], port)

    def test_python(self):
        if sanitized():
            self.skipTest("Python does not load a library with sanitizers")
        code, port = self.section("python")
        self.check([sys.executable, "-c", code], port)


class Removed(EmbeddedCase):
    """In a process, and so a folder, of its own."""

    def test_uninstall_leaves_nothing(self):
        found = [str(path.relative_to(installed()))
                 for path in installed().rglob("*mailhandlers*")]
        self.assertEqual(sorted(found), [
            "usr/include/mailhandlers.h", "usr/lib/libmailhandlers.a",
            "usr/lib/libmailhandlers.so", "usr/lib/libmailhandlers.so.0",
            "usr/lib/pkgconfig/mailhandlers.pc",
            "usr/share/man/man3/mailhandlers.3"])
        build = os.path.relpath(BUILD, ROOT)
        subprocess.run(["make", "-s", "uninstall", f"BUILD={build}",
                        f"DESTDIR={installed()}", "PREFIX=/usr"], cwd=ROOT,
                       check=True, stdout=subprocess.DEVNULL)
        self.assertEqual([path for path in installed().rglob("*")
                          if path.is_file() and path.parent != installed()
                          and "/etc/" not in str(path)], [])
        installed.cache_clear()
