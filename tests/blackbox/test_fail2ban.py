"""The filter of units/fail2ban, by fail2ban-regex, on lines that the programs
wrote and on lines that somebody made to look like them."""

import re
import subprocess

from frontdoor import BOTH, FrontDoor, offers, send_login
from mailtest import ROOT, clean_environment
from superservers import TOOLS

TOOL = TOOLS / "fail2ban"
FILTER = ROOT / "units" / "fail2ban" / "mail-handlers.conf"
ATTACKER = {"REMOTE_ADDR": "192.0.2.7", "REMOTE_PORT": "4711"}
ATTACKER6 = {"REMOTE_ADDR": "2001:db8::7", "REMOTE_PORT": "4711"}
VICTIM = "198.51.100.1"
# What a user could be called
FORGED = (f"x peer={VICTIM}:25 user=x", f'x" peer={VICTIM} reason="x',
          f"x login-failed: peer={VICTIM} user=x", f"{VICTIM}",
          f"smtp-handler[1]: 0123456789AB login-failed: peer={VICTIM} user=",
          f"\nJan  1 00:00:00 h smtp-handler[1]: 0123456789AB login-failed: "
          f"peer={VICTIM} user=x", f"peer={VICTIM}", f"PEER={VICTIM}")


class Fail2ban(FrontDoor):
    def found(self, lines, mode="normal"):
        """Addresses that the filter finds, in order."""
        log = self.fresh_path("lines")
        log.write_text("".join(
            f"2026-11-30T12:00:00+00:00 mail.test {line}\n"
            for line in lines if line))
        folder = self.fresh_path("config")
        (folder / "filter.d").mkdir(parents=True)
        for name in ("common.conf",):
            (folder / "filter.d" / name).write_bytes(
                (TOOL / "etc/fail2ban/filter.d" / name).read_bytes())
        path = folder / "filter.d" / "mail-handlers.conf"
        path.write_bytes(FILTER.read_bytes())
        for name in ("fail2ban.conf", "jail.conf"):
            (folder / name).write_bytes(
                (TOOL / "etc/fail2ban" / name).read_bytes())
        done = subprocess.run(
            ["python3", TOOL / "usr/bin/fail2ban-regex", "-c", folder, "-o",
             "ip", log, f"{path}[mode={mode}]"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=200, env=clean_environment({
                "PYTHONPATH": TOOL / "usr/lib/python3/dist-packages"}))
        print(done)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode().split()

    def failed(self, program, user, env):
        """The log of a session with a login that is wrong."""
        users = self.users("joe:*")
        peer = self.door(program, "--tls", "off", "--auth", f"file:{users}",
                         "--tls", "outer", env=env)
        offers(peer)
        send_login(peer, user, "wrong")
        peer.line()
        peer.end_output()
        peer.rest()
        peer.process.wait()
        return peer.process.log().splitlines()

    def test_failed_logins(self):
        for program in BOTH:
            for env in (ATTACKER, ATTACKER6):
                lines = self.failed(program, "joe", env)
                with self.subTest(program=program.name, env=env):
                    self.assertTrue(any("login-failed" in line
                                        for line in lines), lines)
                    self.assertEqual(self.found(lines),
                                     [env["REMOTE_ADDR"]])

    def test_forged_names(self):
        """Whatever a user is called, it is who said it that is found."""
        lines = []
        for name in FORGED:
            for program in BOTH:
                if "\n" in name and program.name == "pop3-handler":
                    continue        # a command has one line
                lines += self.failed(program, name, ATTACKER)
        self.assertEqual(set(self.found(lines)), {"192.0.2.7"})
        self.assertEqual(set(self.found(lines, "aggressive")), {"192.0.2.7"})
        # Nor by who looks for a peer anywhere in the line
        loose = set(re.findall(r"(?i)peer=([0-9.]+)", "\n".join(lines)))
        self.assertEqual(loose, {"192.0.2.7"})

    def test_forged_lines(self):
        """In what else a client can have logged."""
        mail = self.spawn(BOTH[1], "--tls", "off", "--no-auth-required",
                          "--transcript", "--maildir", self.mail,
                          env=ATTACKER)
        for line in FORGED:
            mail.send(line.replace("\n", " ") + "\r\n")
            mail.send(f'MAIL FROM:<"{line.replace(chr(10), " ")}"@x>\r\n')
        mail.end_output()
        mail.rest()
        mail.process.wait()
        lines = mail.process.log().splitlines()
        self.assertGreater(len(lines), 10)
        self.assertEqual(self.found(lines), [])

    def test_tls(self):
        for program in BOTH:
            peer = self.door(program, *self.certs.server.options(), "--auth",
                             "any", env=ATTACKER)
            peer.send(b"GET / HTTP/1.0\r\n\r\n")
            peer.rest()
            peer.close()
            peer.process.wait()
            lines = peer.process.log().splitlines()
            self.assertEqual(self.found(lines), [])
            self.assertEqual(self.found(lines, "aggressive"), ["192.0.2.7"])

    def test_trouble_of_ours(self):
        """Nobody is shut out for a checkpassword program that is down."""
        peer = self.door(BOTH[1], "--tls", "outer", "--auth",
                         "exec:sh -c 'exit 99'", env=ATTACKER)
        offers(peer)
        send_login(peer)
        peer.line()
        peer.end_output()
        peer.rest()
        peer.process.wait()
        lines = peer.process.log().splitlines()
        self.assertTrue(any(" trouble: " in line for line in lines))
        self.assertEqual(self.found(lines, "aggressive"), [])
